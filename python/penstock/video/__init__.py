"""Video in and out: frames are uint8 [height, width, 3] RGB, rates are Fractions. Needs PyAV (penstock[video])."""

from .audio import AudioDamaged
from .contact_sheet import contact_sheet
from .container import VideoDamaged
from .geometry import fit_size
from .h264 import EncoderMissing
from .reader import VideoReader, read_video
from .source import VideoInfo
from .synthetic import generate_clip
from .writer import VideoWriter

__all__ = [
    "AudioDamaged",
    "EncoderMissing",
    "VideoDamaged",
    "VideoInfo",
    "VideoReader",
    "VideoWriter",
    "contact_sheet",
    "fit_size",
    "generate_clip",
    "read_video",
]
