//! Images by number.

/// An image: a group of processes that is summed. The caller assigns the numbers, from 0 and
/// without gaps; they keep their meaning for the life of a sampler. The caller also keeps the
/// names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageId(pub u32);

impl ImageId {
    /// The number as an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}
