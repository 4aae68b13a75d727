"""The stages that make a picture, one file each, in this order:

see        photo → SeenPhoto: the photo in its bucket, depth, edges, objects
select     SeenPhoto → Selection: what stays as photographed
condition  SeenPhoto → Conditioning: text, hints, the photo's latents, what is kept of them
denoise    Conditioning → a DenoisedStep for every step of the solver
decode     latents → pixels
enlarge    the network's pixels at the photo's size, where they are wanted there
finish     pixels → FinishedPicture: in the photo's own detail, with the kept pixels
measure    FinishedPicture → MeasuredPicture: how good it is

A stage imports no stage that comes after it. None knows Triton: a stage calls models through ``Models``.
"""
