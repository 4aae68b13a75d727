"""TensorRT plans of a release, for the GPU of one machine: ``python -m export plan RELEASE``.

A plan fits one kind of GPU and one version of TensorRT, a release fits all of them. So plans do not lie in the release,
which never changes and is part of the container's image; they lie in a folder of the machine's, here called ``plans``::

    <plans>/<bundle>/
        current -> repository-<n>          replaced in one rename, when everything in it is whole
            plan.json                      what was made for which release, and why a graph has no plan
            models/<graph>/                a Triton model repository in place of the release's own
                config.pbtxt               serves the ONNX graph
                configs/tensorrt.pbtxt     chosen by --model-config-name=tensorrt: the plan, or the ONNX graph
                <version>/model.plan
                <version>/onnx ->          the release's folder of that graph
        built/<graph>-<key>/               model.plan and verdict.json: kept as long as their key fits
        timing-<machine>.cache             what the builder measured of this GPU
"""
