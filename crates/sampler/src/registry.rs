//! The names of images, and their places in the lists by image.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::image::ImageIndex;

/// Identifies an image of one [`Sampler`](crate::Sampler), from
/// [`Sampler::add_image`](crate::Sampler::add_image) until the image is removed.
///
/// Names work everywhere as well. An id saves the search for the name where there are many images. An
/// id of another sampler, or of an image that was removed, identifies no image, also if the name
/// exists again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageId {
    index: u32,
    /// Another one for each image of the program.
    serial: u32,
}

/// The serial number of the next image.
static NEXT_SERIAL: AtomicU32 = AtomicU32::new(0);

/// The images of a sampler.
#[derive(Clone, Debug, Default)]
pub(crate) struct ImageRegistry {
    /// By index.
    entries: Vec<Entry>,
    free: Vec<u32>,
    by_name: HashMap<Arc<str>, ImageId>,
}

#[derive(Clone, Debug)]
struct Entry {
    /// `None` if the image was removed.
    name: Option<Arc<str>>,
    serial: u32,
}

impl ImageRegistry {
    /// The id of a name that exists.
    pub(crate) fn find(&self, name: &str) -> Option<ImageId> {
        self.by_name.get(name).copied()
    }

    /// The id of a name, which is new if it did not exist.
    pub(crate) fn add(&mut self, name: &str) -> ImageId {
        if let Some(id) = self.find(name) {
            return id;
        }
        let serial = NEXT_SERIAL.fetch_add(1, Ordering::Relaxed);
        let name: Arc<str> = name.into();
        let entry = Entry { name: Some(Arc::clone(&name)), serial };
        let index = match self.free.pop() {
            Some(index) => {
                if let Some(place) = self.entries.get_mut(index as usize) {
                    *place = entry;
                }
                index
            }
            None => {
                self.entries.push(entry);
                // Each of them takes memory: there are fewer than 2^32.
                u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
            }
        };
        let id = ImageId { index, serial };
        self.by_name.insert(name, id);
        id
    }

    /// Removes an image. Its index can be that of another one from then on.
    pub(crate) fn remove(&mut self, id: ImageId) -> Option<ImageIndex> {
        let index = self.index(id)?;
        let name = self.entries.get_mut(index.index())?.name.take()?;
        self.by_name.remove(&name);
        self.free.push(id.index);
        Some(index)
    }

    /// The place of an image that exists.
    pub(crate) fn index(&self, id: ImageId) -> Option<ImageIndex> {
        let entry = self.entries.get(id.index as usize)?;
        (entry.name.is_some() && entry.serial == id.serial).then_some(ImageIndex(id.index))
    }

    /// The image at a place.
    pub(crate) fn get(&self, index: ImageIndex) -> Option<(ImageId, &str)> {
        let Entry { name, serial } = self.entries.get(index.index())?;
        Some((ImageId { index: index.0, serial: *serial }, name.as_deref()?))
    }

    /// All images, by ascending place.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ImageIndex, ImageId, &str)> {
        let places = (0..).map(ImageIndex).take(self.entries.len());
        places.filter_map(|index| self.get(index).map(|(id, name)| (index, id, name)))
    }

    /// More than the largest place.
    pub(crate) fn end(&self) -> usize {
        self.entries.len()
    }
}

/// The images of one process, to which the caller's closure adds those that it finds. See
/// [`Sampler::open_with`](crate::Sampler::open_with).
#[derive(Debug)]
pub struct ImageSet<'a> {
    registry: &'a mut Arc<ImageRegistry>,
    found: &'a mut Vec<ImageIndex>,
}

impl<'a> ImageSet<'a> {
    pub(crate) fn new(
        registry: &'a mut Arc<ImageRegistry>,
        found: &'a mut Vec<ImageIndex>,
    ) -> ImageSet<'a> {
        ImageSet { registry, found }
    }

    /// Adds the image with this name. If there is none, it begins with this process.
    pub fn add(&mut self, name: &str) {
        let id = add(self.registry, name);
        self.add_id(id);
    }

    /// Adds an image by its id. Returns whether the id is one of this sampler.
    pub fn add_id(&mut self, image: ImageId) -> bool {
        let index = self.registry.index(image);
        self.found.extend(index);
        index.is_some()
    }

    /// Whether no image was added.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }
}

/// Adds the images with these names.
impl<'n> Extend<&'n str> for ImageSet<'_> {
    fn extend<T: IntoIterator<Item = &'n str>>(&mut self, names: T) {
        for name in names {
            self.add(name);
        }
    }
}

/// The id of a name, which is new if it did not exist.
pub(crate) fn add(registry: &mut Arc<ImageRegistry>, name: &str) -> ImageId {
    match registry.find(name) {
        Some(id) => id,
        // Copied only if a sample that was kept still has it.
        None => Arc::make_mut(registry).add(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_removed_images_identify_no_other() {
        let mut registry = ImageRegistry::default();
        let (a, b) = (registry.add("a"), registry.add("b"));
        assert_eq!((registry.add("a"), registry.find("b")), (a, Some(b)));
        assert_eq!(registry.remove(a), Some(ImageIndex(0)));
        assert_eq!((registry.remove(a), registry.find("a"), registry.index(a)), (None, None, None));
        let c = registry.add("c");
        assert_eq!((registry.index(c), registry.index(a)), (Some(ImageIndex(0)), None));
        let again = registry.add("a");
        assert!(again != a && registry.get(ImageIndex(2)) == Some((again, "a")));
        let all: Vec<_> = registry.iter().map(|(_, _, name)| name).collect();
        assert_eq!((all, registry.end()), (vec!["c", "b", "a"], 3));
    }

    #[test]
    fn ids_are_those_of_one_sampler() {
        let (mut one, mut other) = (ImageRegistry::default(), ImageRegistry::default());
        let id = one.add("a");
        let own = other.add("a");
        let own = other.index(own);
        assert_eq!((own, other.index(id)), (Some(ImageIndex(0)), None));
    }
}
