//! The path of a control group: the systemd unit and the container in it.
//!
//! Service managers and container runtimes name the groups that they create. The forms that
//! are known here:
//!
//! | program | groups of a container |
//! |---|---|
//! | Docker, containerd, CRI-O, Podman, Kubernetes | `/docker/ID`, `docker-ID.scope`, `cri-containerd-ID.scope`, `crio-ID.scope`, `libpod-ID.scope`, `/kubepods/burstable/podUID/ID`, `…-podUID.slice:cri-containerd:ID`: `ID` has 64 hexadecimal digits, and what precedes it does not matter |
//! | LXC, LXD, Incus | `/lxc/NAME`, `/lxc.payload/NAME`, `/lxc.payload.NAME` |
//! | systemd-nspawn, machined | `systemd-nspawn@NAME.service`, `machine-NAME.scope` |
//!
//! The monitor of a container (`libpod-conmon-ID.scope`, `lxc.monitor.NAME`) is not in it.

/// Digits of an id that a container runtime generates.
const ID_LEN: usize = 64;
/// The types of units that have a control group.
const UNIT_TYPES: [&[u8]; 6] = [b".service", b".scope", b".slice", b".socket", b".mount", b".swap"];

/// The path of a control group, such as `/system.slice/nginx.service`.
///
/// ```
/// use psstat_proc_parse::CgroupPath;
///
/// let path = CgroupPath(b"/user.slice/user-1000.slice/user@1000.service/app.slice/web@2.service");
/// assert_eq!(path.unit(), Some(&b"web@2.service"[..]));
/// assert_eq!(path.container(), None);
///
/// let path = CgroupPath(b"/machine.slice/machine-web\\x2d1.scope/payload/system.slice");
/// assert!(path.container().unwrap().bytes().eq(*b"web-1"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CgroupPath<'a>(pub &'a [u8]);

/// The id of a container, or its name if it has no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Container<'a> {
    /// As in the path.
    name: &'a [u8],
    /// systemd has escaped it.
    is_escaped: bool,
}

impl<'a> CgroupPath<'a> {
    /// The systemd unit whose group this is or that contains it: the last component with the name
    /// of one. So it is the user's service for a service of a user, and the scope of a container
    /// that has one.
    ///
    /// The name is that of `systemctl`, in which characters can be escaped (`\x2d`).
    #[must_use]
    pub fn unit(self) -> Option<&'a [u8]> {
        self.components().rev().find_map(unit)
    }

    /// The innermost container.
    #[must_use]
    pub fn container(self) -> Option<Container<'a>> {
        let (mut found, mut parent) = (None, &b""[..]);
        for component in self.components() {
            if let Some(container) = container(component, parent) {
                found = Some(container);
            }
            parent = component;
        }
        found
    }

    fn components(self) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        self.0.split(|&byte| byte == b'/').filter(|component| !component.is_empty())
    }
}

impl<'a> Container<'a> {
    /// The bytes of the id or name, without the escapes of systemd.
    pub fn bytes(self) -> impl Iterator<Item = u8> + 'a {
        let mut rest = self.name;
        core::iter::from_fn(move || {
            let (byte, after) = match escaped(rest).filter(|_| self.is_escaped) {
                Some(unescaped) => unescaped,
                None => rest.split_first().map(|(&byte, after)| (byte, after))?,
            };
            rest = after;
            Some(byte)
        })
    }
}

/// The name of a unit: at least one character and a type.
///
/// systemd precedes a name with `_` where the kernel could have a file of that name in the group,
/// as for `memory.slice`.
fn unit(component: &[u8]) -> Option<&[u8]> {
    let name = component.strip_prefix(b"_").unwrap_or(component);
    UNIT_TYPES
        .iter()
        .any(|unit_type| name.len() > unit_type.len() && name.ends_with(unit_type))
        .then_some(name)
}

fn container<'a>(component: &'a [u8], parent: &[u8]) -> Option<Container<'a>> {
    let is_in_lxc = matches!(parent, b"lxc" | b"lxc.payload");
    let lxc = component.strip_prefix(b"lxc.payload.").or(is_in_lxc.then_some(component));
    if let Some(name) = lxc.or_else(|| id(component)).filter(|name| !name.is_empty()) {
        return Some(Container { name, is_escaped: false });
    }
    let between = |prefix: &[u8], suffix: &[u8]| {
        component.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(suffix))
    };
    let machine =
        between(b"systemd-nspawn@", b".service").or_else(|| between(b"machine-", b".scope"));
    machine.filter(|name| !name.is_empty()).map(|name| Container { name, is_escaped: true })
}

/// The id of a container: all of the name, or what follows the name of its runtime.
fn id(component: &[u8]) -> Option<&[u8]> {
    let name = component.strip_suffix(b".scope").unwrap_or(component);
    let (runtime, id) = name.split_at_checked(name.len().checked_sub(ID_LEN)?)?;
    let is_id = id.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_monitor = runtime.ends_with(b"conmon-");
    let is_runtime = matches!(runtime.last(), None | Some(b'-' | b':')) && !is_monitor;
    (is_id && is_runtime).then_some(id)
}

/// The byte that `\xHH` at the start stands for, and the rest.
fn escaped(text: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, rest) = text.strip_prefix(b"\\x")?.split_at_checked(2)?;
    let mut byte = 0;
    for &digit in digits {
        byte = byte << 4 | char::from(digit).to_digit(16)? as u8;
    }
    Some((byte, rest))
}
