//! Identifiers of images.

/// An image: a group of processes whose values are summed. The caller assigns
/// the numbers, from 0 without gaps; a number keeps its meaning for the lifetime
/// of a sampler. The sampler does not know the names of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageId(pub u32);

impl ImageId {
    /// The number as an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}
