//! Images by number.

/// An image: a group of processes that is summed. The caller assigns the numbers, from 0; the
/// sampler keeps a few bytes for each up to the largest one. They keep their meaning until they are
/// [released](crate::Sampler::release_images). The caller also keeps the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageId(pub u32);

impl ImageId {
    /// The number as an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}
