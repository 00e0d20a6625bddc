//! How often processes began to belong to an image, and ceased to.

use crate::image::ImageIndex;

/// The counts of one image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MemberChanges {
    pub(crate) starts: u64,
    pub(crate) exits: u64,
}

/// The counts of all images, by their number.
#[derive(Debug, Default)]
pub(crate) struct Membership(Vec<MemberChanges>);

impl Membership {
    /// Makes room for this number of images.
    pub(crate) fn ensure_images(&mut self, count: usize) {
        if self.0.len() < count {
            self.0.resize(count, MemberChanges::default());
        }
    }

    /// A process began to belong to an image.
    pub(crate) fn add_start(&mut self, image: ImageIndex) {
        if let Some(image) = self.0.get_mut(image.index()) {
            image.starts += 1;
        }
    }

    /// A process that belonged to an image has exited, or left it.
    pub(crate) fn add_exit(&mut self, image: ImageIndex) {
        if let Some(image) = self.0.get_mut(image.index()) {
            image.exits += 1;
        }
    }

    /// After the first cycle, in which they begin.
    pub(crate) fn reset(&mut self) {
        self.0.fill(MemberChanges::default());
    }

    /// Forgets images.
    pub(crate) fn release_images(&mut self, images: &[ImageIndex]) {
        for image in images {
            if let Some(changes) = self.0.get_mut(image.index()) {
                *changes = MemberChanges::default();
            }
        }
    }

    /// The counts by image.
    pub(crate) fn changes(&self) -> &[MemberChanges] {
        &self.0
    }
}
