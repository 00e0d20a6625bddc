//! Images by number.

/// An image: a group of processes that is summed up. The numbers are the
/// caller's, from 0 and without gaps, and keep their meaning for the life of a
/// sampler; their names are the caller's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageId(pub u32);

impl ImageId {
    /// The number as an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}
