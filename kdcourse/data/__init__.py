"""Pictures and labels in memory: Fashion-MNIST, your own folders, views and batches of them."""

from kdcourse.data.batches import Batch, Batches
from kdcourse.data.fashion import fashion_mnist
from kdcourse.data.folder import image_folder
from kdcourse.data.splits import Dataset, Split
from kdcourse.data.views import Augmentation, View

__all__ = ["Augmentation", "Batch", "Batches", "Dataset", "Split", "View", "fashion_mnist", "image_folder"]
