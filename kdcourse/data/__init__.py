"""Images with labels or masks: Fashion-MNIST, garment scenes, your own folders, augmented views and batches."""

from kdcourse.data.batches import Batch, Batches
from kdcourse.data.fashion import fashion_mnist
from kdcourse.data.folder import image_folder
from kdcourse.data.kinds import AnyDataset, LabelledSplit
from kdcourse.data.multilabel import MultiLabelDataset, MultiLabelSplit
from kdcourse.data.pets import oxford_pets
from kdcourse.data.scenes import BACKGROUND, garment_scenes
from kdcourse.data.segmentation import IGNORE, EndlessSplit, MaskedSplit, SegmentationDataset
from kdcourse.data.segmentation_folder import segmentation_folder
from kdcourse.data.splits import Dataset, LeftOut, Split, stratified_index
from kdcourse.data.views import Augmentation, View

__all__ = [
    "BACKGROUND",
    "IGNORE",
    "AnyDataset",
    "Augmentation",
    "Batch",
    "Batches",
    "Dataset",
    "EndlessSplit",
    "LabelledSplit",
    "LeftOut",
    "MaskedSplit",
    "MultiLabelDataset",
    "MultiLabelSplit",
    "SegmentationDataset",
    "Split",
    "View",
    "fashion_mnist",
    "garment_scenes",
    "image_folder",
    "oxford_pets",
    "segmentation_folder",
    "stratified_index",
]
