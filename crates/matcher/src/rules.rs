//! Rules, and the images that a command line belongs to.

use std::ops::Range;

use crate::image::ImageName;
use crate::pattern_error::PatternError;
use crate::python::Pattern;

/// One line of a conf: the image and its pattern.
#[derive(Debug)]
pub struct Rule {
    image: usize,
    source: Vec<u8>,
    line: Option<usize>,
    pattern: Pattern,
}

impl Rule {
    /// Number of its image: an index of [`Rules::images`].
    pub fn image(&self) -> usize {
        self.image
    }

    /// The pattern as it was written. It need not be UTF-8.
    pub fn source(&self) -> &[u8] {
        &self.source
    }

    /// 1-based number of its line in the conf, where it comes from one.
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// Where it first matches in `text`, in bytes of `text`; `None` where it
    /// does not. Where it matches only with the closing space, the end is at
    /// most `text.len() + 1`.
    pub fn find(&self, text: &[u8]) -> Option<Range<usize>> {
        self.pattern.find(text)
    }
}

/// What [`Rules::classify`] found out beside the images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// How many images the text belongs to.
    pub images: usize,
    /// How many rules gave up because they hit their step limit. Whether
    /// these match is not known; they count as not matching.
    pub limited: usize,
}

/// A list of rules.
#[derive(Debug, Default)]
pub struct Rules {
    images: Vec<ImageName>,
    rules: Vec<Rule>,
}

impl Rules {
    /// Adds a rule.
    ///
    /// # Errors
    /// Where the pattern is not one that Python's `re` takes, or its meaning
    /// cannot be kept, or it is too large.
    pub fn push(&mut self, image: ImageName, pattern: &str) -> Result<(), PatternError> {
        self.add(image, pattern.as_bytes(), None)
    }

    pub(crate) fn push_line(
        &mut self,
        image: ImageName,
        pattern: &[u8],
        line: usize,
    ) -> Result<(), PatternError> {
        self.add(image, pattern, Some(line))
    }

    fn add(
        &mut self,
        image: ImageName,
        source: &[u8],
        line: Option<usize>,
    ) -> Result<(), PatternError> {
        let pattern = Pattern::new(source)?;
        let image = match self.images.iter().position(|i| *i == image) {
            Some(index) => index,
            None => {
                self.images.push(image);
                self.images.len() - 1
            }
        };
        self.rules.push(Rule { image, source: source.to_vec(), line, pattern });
        Ok(())
    }

    /// The distinct images in the order of their first mention; the index is
    /// the image's number.
    pub fn images(&self) -> &[ImageName] {
        &self.images
    }

    /// The rules, in the order in which they were added.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Calls `found` with the number of each image that `text` belongs to, at
    /// most once an image.
    ///
    /// `text` is the command line: the arguments joined by one space, without
    /// a closing space. An empty text matches nothing.
    pub fn classify(&self, text: &[u8], found: &mut dyn FnMut(usize)) -> Verdict {
        let mut verdict = Verdict::default();
        if text.is_empty() {
            return verdict;
        }
        for (number, _) in self.images.iter().enumerate() {
            if self.rules.iter().any(|r| r.image == number && r.find(text).is_some()) {
                verdict.images += 1;
                found(number);
            }
        }
        verdict
    }
}
