"""Build teachers and students by name."""

from kdcourse.models.convolutional import DepthwiseCNN, PocketCNN, ResidualTeacher
from kdcourse.models.gpt import GPT
from kdcourse.models.mlp import MLP
from kdcourse.models.preprocessed import Preprocessed
from kdcourse.models.registry import build, names, torchvision_names
from kdcourse.models.selected import SelectedClasses
from kdcourse.models.unet import UNet

__all__ = [
    "GPT",
    "MLP",
    "DepthwiseCNN",
    "PocketCNN",
    "Preprocessed",
    "ResidualTeacher",
    "SelectedClasses",
    "UNet",
    "build",
    "names",
    "torchvision_names",
]
