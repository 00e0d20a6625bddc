//! Images inside the sampler, by number.

/// An image as an index of the lists by image, from 0. It keeps its meaning until the image is
/// removed. [`ImageRegistry`](crate::registry::ImageRegistry) assigns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ImageIndex(pub(crate) u32);

impl ImageIndex {
    /// The number as an index.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}
