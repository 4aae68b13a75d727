"""Renders rooms: from a seed to pictures with exact truths, without networks or files.

shapes → furniture, fixtures → plan → layout make a room (numpy, seeded); trace and light follow its rays, materials and
textures dress it in a style, paint develops the picture, truth says what can be seen. ``rooms`` does all of this in
turn.
"""
