//! `/proc/PID/cmdline`: the arguments, each closed by a NUL. See
//! proc_pid_cmdline(5).

/// A command line as the kernel gives it.
///
/// Any bytes are a command line: a process may write over its own, and then
/// there may be no closing NUL, or many of them. A kernel thread and a zombie
/// have an empty one.
///
/// ```
/// use psstat_proc_parse::Cmdline;
///
/// let cmdline = Cmdline(b"java\0-cp\0\0Main\0");
/// assert_eq!(cmdline.program(), b"java");
/// assert_eq!(cmdline.args().count(), 4);
/// assert!(cmdline.text().eq(b"java -cp  Main".iter().copied()));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cmdline<'a>(pub &'a [u8]);

impl<'a> Cmdline<'a> {
    /// Whether nothing is there but NULs, as with a kernel thread or a zombie.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.without_closing().is_empty()
    }

    /// The first argument, `argv[0]`; empty if there is none.
    #[must_use]
    pub fn program(self) -> &'a [u8] {
        self.args().next().unwrap_or_default()
    }

    /// The arguments in order. Empty ones are kept; the NUL that closes the
    /// last one begins no further one.
    #[must_use]
    pub fn args(self) -> Args<'a> {
        Args { rest: (!self.0.is_empty()).then(|| self.0.strip_suffix(b"\0").unwrap_or(self.0)) }
    }

    /// The bytes for people and rules: the closing NULs are left out and every
    /// other one is a space.
    pub fn text(self) -> impl DoubleEndedIterator<Item = u8> + ExactSizeIterator + Clone + 'a {
        self.without_closing().iter().map(|&byte| if byte == 0 { b' ' } else { byte })
    }

    /// Writes [`text`](Self::text) to the start of `buffer` and gives the
    /// number of bytes written: all of them, or as many as `buffer` holds. A
    /// buffer as long as the command line always suffices.
    pub fn copy_text(self, buffer: &mut [u8]) -> usize {
        let text = self.without_closing();
        for (to, from) in buffer.iter_mut().zip(self.text()) {
            *to = from;
        }
        text.len().min(buffer.len())
    }

    fn without_closing(self) -> &'a [u8] {
        let end = self.0.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        self.0.get(..end).unwrap_or_default()
    }
}

/// The arguments of a [`Cmdline`], from [`Cmdline::args`].
#[derive(Clone, Debug)]
pub struct Args<'a> {
    /// `None` when the last argument has been given.
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Args<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        let Some(end) = memchr::memchr(0, rest) else {
            self.rest = None;
            return Some(rest);
        };
        let (argument, closed) = rest.split_at_checked(end)?;
        self.rest = closed.get(1..);
        Some(argument)
    }
}

impl core::iter::FusedIterator for Args<'_> {}
