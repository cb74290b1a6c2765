"""The one place where a device is chosen."""

import torch

from pipeline.errors import ConfigError


def pick(wanted: str = "auto") -> torch.device:
    """``cuda`` where there is one and ``auto`` or ``cuda`` was asked for, else the CPU.

    Raises:
        ConfigError: an unknown device, or ``cuda`` where there is none.
    """
    if wanted == "auto":
        return exact(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    device: torch.device | None
    try:
        device = torch.device(wanted)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ConfigError(f"no such device: {wanted!r}; want auto, cpu or cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device cuda was asked for, but torch finds no GPU; use auto or cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device {wanted} was asked for, of {torch.cuda.device_count()} GPUs")
    return exact(device)


def exact(device: torch.device) -> torch.device:
    """The same device, computing in float32.

    On a GPU, torch's convolutions take TF32 by default, whose mantissa has 10 bits: scores would
    differ from the CPU's by more than 1e-4.
    """
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
    return device


def share_cpu(threads: int) -> None:
    """CPU threads that one forward pass of this process takes; decoders need the other cores."""
    torch.set_num_threads(threads)
