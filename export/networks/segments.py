"""What stands where: a photo in the colours of ADE20K, one for each of its 150 kinds of things."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from export.bundle import Bundle, BundleError
from export.networks.folding import fold_batch_norms
from export.networks.load import Network
from export.networks.pictures import PhotoNetwork
from export.networks.precision import widen
from export.networks.preparation import IMAGENET, Preparation, preparation

_COLOURS = """
    787878 b47878 06e6e6 503232 04c803 787850 8c8c8c cc05ff e6e6e6 04fa07 e005ff ebff07 96053d 787846 08ff33
    ff0652 8fff8c ccff04 ff3307 cc4603 0066c8 3de6fa ff0633 0b66ff ff0747 ff09e0 0907e6 dcdcdc ff095c 7009ff
    08ffd6 07ffe0 ffb806 0aff47 ff290a 07ffff e0ff08 6608ff ff3d06 ffc207 ff7a08 00ff14 ff0829 ff0599 0633ff
    eb0cff a09614 00a3ff 8c8c8c fa0a0f 14ff00 1fff00 ff1f00 ffe000 99ff00 0000ff ff4700 00ebff 00adff 1f00ff
    0bc8c8 ff5200 00fff5 003dff 00ff70 00ff85 ff0000 ffa300 ff6600 c2ff00 008fff 33ff00 0052ff 00ff29 00ffad
    0a00ff adff00 00ff99 ff5c00 ff00ff ff00f5 ff0066 ffad00 ff0014 ffb8b8 001fff 00ff3d 0047ff ff00cc 00ffc2
    00ff52 000aff 0070ff 3300ff 00c2ff 007aff 00ffa3 ff9900 00ff0a ff7000 8fff00 5200ff a3ff00 ffeb00 08b8aa
    8500ff 00ff5c b800ff ff001f 00b8ff 00d6ff ff0070 5cff00 00e0ff 70e0ff 46b8a0 a300ff 9900ff 47ff00 ff00a3
    ffcc00 ff008f 00ffeb 85ff00 ff00eb f500ff ff007a fff500 0abed4 d6ff00 00ccff 1400ff ffff00 0099ff 0029ff
    00ffcc 2900ff 29ff00 ad00ff 00f5ff 4700ff 7a00ff 00ffb8 005cff b8ff00 0085ff ffd600 19c2c2 66ff00 5c00ff
"""
"""Red, green and blue of ADE20K's kinds in their order, from wall and building to flag: the colours that the dataset's
authors show them in, and so those that the ControlNet was trained with."""

ADE20K = [list(bytes.fromhex(colour)) for colour in _COLOURS.split()]


class Segments(PhotoNetwork):
    """Photo UINT8 [B,H,W,3] → UINT8 [B,H,W,3]: each pixel in the colour of its kind of thing."""

    palette: Tensor

    def __init__(self, network: Network, wanted: Preparation) -> None:
        super().__init__(network, wanted.size, wanted.mean, wanted.std, wanted.mode)
        if getattr(network, "auxiliary_head", None) is not None:
            network.auxiliary_head = None  # for the training alone
        fold_batch_norms(network)
        self.register_buffer("palette", torch.tensor(ADE20K, dtype=torch.float32))

    def forward(self, image: Tensor) -> Tensor:
        scores = widen(self.network(pixel_values=self.prepare(image)).logits)
        scores = F.interpolate(scores, self.size, mode="bilinear", align_corners=False)
        # At the network's size: at that of the photo, 150 scores for each pixel would be most of the graph's memory.
        kinds = scores.argmax(1, keepdim=True).float()
        kinds = F.interpolate(kinds, (image.shape[1], image.shape[2]), mode="nearest").squeeze(1)
        # Numbers until the last step: TensorRT takes UINT8 at the edges of a graph only.
        return F.embedding(kinds.long(), self.palette).to(torch.uint8)


def segments_module(network: Network, bundle: Bundle) -> Segments:
    """The graph's module. Raises BundleError when the network was not trained on ADE20K's kinds, or see
    :func:`export.networks.preparation.preparation`."""
    count = network.config.num_labels
    if count != len(ADE20K):
        raise BundleError(
            f"networks.segments: it knows {count} kinds of things, and the ControlNet was trained with the "
            f"{len(ADE20K)} of ADE20K: choose a network for these"
        )
    return Segments(network, preparation(bundle, "segments", network.config, IMAGENET))
