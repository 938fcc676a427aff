"""Images with labels or masks, and text as tokens: shipped or your own; augmented views and batches."""

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
from kdcourse.data.text import (
    IGNORE_TOKEN,
    TextDataset,
    TokenSplit,
    austen,
    text_dataset,
    text_file,
    text_folder,
)
from kdcourse.data.views import Augmentation, View
from kdcourse.data.vocabulary import BytePairVocabulary, ByteVocabulary, TokenizerVocabulary, Vocabulary

__all__ = [
    "BACKGROUND",
    "IGNORE",
    "IGNORE_TOKEN",
    "AnyDataset",
    "Augmentation",
    "Batch",
    "Batches",
    "BytePairVocabulary",
    "ByteVocabulary",
    "Dataset",
    "EndlessSplit",
    "LabelledSplit",
    "LeftOut",
    "MaskedSplit",
    "MultiLabelDataset",
    "MultiLabelSplit",
    "SegmentationDataset",
    "Split",
    "TextDataset",
    "TokenSplit",
    "TokenizerVocabulary",
    "View",
    "Vocabulary",
    "austen",
    "fashion_mnist",
    "garment_scenes",
    "image_folder",
    "oxford_pets",
    "segmentation_folder",
    "stratified_index",
    "text_dataset",
    "text_file",
    "text_folder",
]
