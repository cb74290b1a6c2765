"""The network once more, written down from its description: T frames everywhere, no shortcuts.

Functions over a state dict. Axes: T frames of one clip (the batch of every convolution), C, H, W.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

State = Mapping[str, Tensor]


def logits(
    state: State, clip_TCHW: Tensor, blocks: tuple[int, ...], *, low: bool = False
) -> Tensor:
    """[K] of one clip; ``low`` for Big frames at half resolution."""
    s = {name.removeprefix("baseline_model."): tensor for name, tensor in state.items()}
    x = layer0_low(s, clip_TCHW) if low else layer0(s, clip_TCHW)
    for n, stride in ((1, 2), (2, 2), (3, 1)):
        twice = tam(s, f"layer{n}.tam", x.repeat_interleave(2, dim=0))
        little, big = twice[0::2], twice[1::2]
        for b in range(blocks[n - 1] - 1):
            last = b == blocks[n - 1] - 2
            bare = last and blocks[n - 1] > 2
            big = bottleneck(s, f"layer{n}.big.{b}", big, 1 if b else 2, relu=not bare)
        b = 0
        while f"layer{n}.little.{b}.conv1.weight" in s:
            little = bottleneck(s, f"layer{n}.little.{b}", little, 1)
            b += 1
        little = conv_bn(s, f"layer{n}.little_e.0", f"layer{n}.little_e.1", little)
        x = (little + F.interpolate(big, size=little.shape[-2:], mode="nearest")).relu()
        x = bottleneck(s, f"layer{n}.fusion.0", x, stride)
    for b in range(blocks[3]):
        mixed = tam(s, f"layer4.{b}.tam", x)
        projects = b == 0
        x = bottleneck(s, f"layer4.{b}", mixed, 1 if b else 2, shortcut=mixed if projects else x)
    features = x.mean(dim=(2, 3))
    head = "new_fc" if "new_fc.weight" in s else "fc"
    return F.linear(features, s[f"{head}.weight"], s[f"{head}.bias"]).mean(dim=0)


def layer0(s: State, clip: Tensor) -> Tensor:
    """Stem, TAM over all frames of one size, both branches."""
    mixed = tam(s, "tam", conv_bn(s, "conv1", "bn1", clip, stride=2).relu())
    return branches(s, mixed[0::2], mixed[1::2], big_stride=2)


def layer0_low(s: State, clip: Tensor) -> Tensor:
    """Big frames at half resolution: each frame's TAM sees its neighbours at its own size."""
    frames = [mean_2x2(f[None]) if t % 2 else f[None] for t, f in enumerate(clip)]
    stems = [conv_bn(s, "conv1", "bn1", frame, stride=2).relu() for frame in frames]
    size = stems[0].shape[-2:]
    at_high = [F.interpolate(f, size=size) if t % 2 else f for t, f in enumerate(stems)]
    at_low = [f if t % 2 else mean_2x2(f) for t, f in enumerate(stems)]
    little = tam(s, "tam", torch.cat(at_high))[0::2]
    big = tam(s, "tam", torch.cat(at_low))[1::2]
    return branches(s, little, big, big_stride=1)


def branches(s: State, little: Tensor, big: Tensor, *, big_stride: int) -> Tensor:
    big = conv_bn(s, "b_conv0", "bn_b0", big, stride=big_stride)
    little = conv_bn(s, "l_conv0", "bn_l0", little).relu()
    little = conv_bn(s, "l_conv1", "bn_l1", little, stride=2).relu()
    little = conv_bn(s, "l_conv2", "bn_l2", little)
    return conv_bn(s, "bl_init", "bn_bl_init", (big + little).relu()).relu()


def bottleneck(
    s: State,
    name: str,
    x: Tensor,
    stride: int,
    *,
    relu: bool = True,
    shortcut: Tensor | None = None,
) -> Tensor:
    shortcut = x if shortcut is None else shortcut
    if stride == 2:
        shortcut = F.avg_pool2d(shortcut, 3, 2, 1)
    for n in (0, 1):
        if f"{name}.downsample.{n}.weight" in s and s[f"{name}.downsample.{n}.weight"].ndim == 4:
            shortcut = conv_bn(s, f"{name}.downsample.{n}", f"{name}.downsample.{n + 1}", shortcut)
    x = conv_bn(s, f"{name}.conv1", f"{name}.bn1", x).relu()
    x = conv_bn(s, f"{name}.conv2", f"{name}.bn2", x, stride=stride).relu()
    x = conv_bn(s, f"{name}.conv3", f"{name}.bn3", x) + shortcut
    return x.relu() if relu else x


def conv_bn(s: State, conv: str, bn: str, x: Tensor, stride: int = 1) -> Tensor:
    weight = s[f"{conv}.weight"]
    x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
    mean, var = s[f"{bn}.running_mean"], s[f"{bn}.running_var"]
    return F.batch_norm(x, mean, var, s[f"{bn}.weight"], s[f"{bn}.bias"], eps=1e-5)


def tam(s: State, name: str, x: Tensor) -> Tensor:
    """y[t] = relu(sum of w[i] * x[t + i - r // 2]), frame by frame and tap by tap."""
    if f"{name}.curr.weight" in s:
        taps = [s[f"{name}.{which}.weight"] for which in ("prev", "curr", "next")]
    else:
        names = sorted(key for key in s if key.startswith(f"{name}.blending_layers."))
        taps = [s[key] for key in names]
    out = torch.zeros_like(x)
    for t in range(len(x)):
        for i, weight in enumerate(taps):
            from_t = t + i - len(taps) // 2
            if 0 <= from_t < len(x):
                out[t] += weight.reshape(-1, 1, 1) * x[from_t]
    return out.relu()


def mean_2x2(x: Tensor) -> Tensor:
    """Each 2x2 block's mean; at an odd edge, of the pixels that are there."""
    n, c, h, w = x.shape
    out = torch.zeros(n, c, -(-h // 2), -(-w // 2), dtype=x.dtype)
    for i in range(out.shape[2]):
        for j in range(out.shape[3]):
            out[:, :, i, j] = x[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean(dim=(2, 3))
    return out
