"""Teachers and students by name, and where their layers come from."""

from kdcourse.models.convolutional import DepthwiseCNN, PocketCNN, ResidualTeacher
from kdcourse.models.mlp import MLP
from kdcourse.models.registry import build, names, torchvision_names

__all__ = [
    "MLP",
    "DepthwiseCNN",
    "PocketCNN",
    "ResidualTeacher",
    "build",
    "names",
    "torchvision_names",
]
