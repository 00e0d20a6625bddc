//! `/proc/PID/status`: a process in words, a line a fact. See
//! proc_pid_status(5).

mod lines;
mod name;

use crate::cursor::Cursor;
use crate::error::{Error, Expected, ProcFile};
use crate::state::ProcessState;

pub use name::{EscapedName, Ids, NsPids, NsPidsIter, SigQueue, Unescaped};

pub(crate) use lines::FIELDS;

/// What `/proc/PID/status` says, as far as the kernel printed it.
///
/// Lines come and go with the kernel's version, its configuration and the kind
/// of process (a kernel thread and a zombie have no `Vm…` lines), so each one
/// is an `Option`; the version beside it is the first that prints it. Lines
/// that are not listed here are skipped.
///
/// `Vm…` and `Rss…` are in kB of 1,024 bytes. Signal masks have bit 0 for
/// signal 1, capability masks bit 0 for capability 0.
///
/// ```
/// use psstat_proc_parse::{ProcessState, Status};
///
/// let status = Status::parse(b"Name:\ta\\nb\nState:\tS (sleeping)\nVmRSS:\t    1668 kB\n")?;
/// assert!(status.name.unwrap().unescaped().eq(*b"a\nb"));
/// assert_eq!(status.state, Some(ProcessState::Sleeping));
/// assert_eq!(status.vm_rss, Some(1668));
/// assert_eq!(status.vm_swap, None);
/// # Ok::<(), psstat_proc_parse::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status<'a> {
    /// `Name`: the `comm` of `stat`, escaped by the kernel.
    pub name: Option<EscapedName<'a>>,
    /// `Umask`: the file mode creation mask (Linux 4.7).
    pub umask: Option<u32>,
    /// `State`.
    pub state: Option<ProcessState>,
    /// `Tgid`: the process's id.
    pub tgid: Option<i32>,
    /// `Ngid`: the NUMA group's id, 0 for none (Linux 3.13).
    pub ngid: Option<i32>,
    /// `Pid`: the thread's id; equal to `tgid` for the first thread.
    pub pid: Option<i32>,
    /// `PPid`: the parent's pid.
    pub ppid: Option<i32>,
    /// `TracerPid`: who traces it, 0 for nobody.
    pub tracer_pid: Option<i32>,
    /// `Uid`: real, effective, saved and file system user.
    pub uid: Option<Ids>,
    /// `Gid`: real, effective, saved and file system group.
    pub gid: Option<Ids>,
    /// `FDSize`: slots for descriptors, not the number of open ones.
    pub fd_size: Option<u64>,
    /// `NSpid`: the pid in each pid namespace, the innermost last (Linux 4.1).
    pub ns_pid: Option<NsPids<'a>>,
    /// `VmPeak`: the most virtual memory it ever had.
    pub vm_peak: Option<u64>,
    /// `VmSize`: virtual memory.
    pub vm_size: Option<u64>,
    /// `VmLck`: locked memory.
    pub vm_lck: Option<u64>,
    /// `VmPin`: pinned memory (Linux 3.2).
    pub vm_pin: Option<u64>,
    /// `VmHWM`: the largest resident set it ever had.
    pub vm_hwm: Option<u64>,
    /// `VmRSS`: the resident set.
    pub vm_rss: Option<u64>,
    /// `RssAnon`: its anonymous part (Linux 4.5).
    pub rss_anon: Option<u64>,
    /// `RssFile`: its part backed by files (Linux 4.5).
    pub rss_file: Option<u64>,
    /// `RssShmem`: its shared part (Linux 4.5).
    pub rss_shmem: Option<u64>,
    /// `VmData`: data.
    pub vm_data: Option<u64>,
    /// `VmStk`: stack.
    pub vm_stk: Option<u64>,
    /// `VmExe`: the program's code.
    pub vm_exe: Option<u64>,
    /// `VmLib`: libraries' code.
    pub vm_lib: Option<u64>,
    /// `VmPTE`: page tables (Linux 2.6.10).
    pub vm_pte: Option<u64>,
    /// `VmPMD`: second-level page tables (Linux 4.0 to 4.14).
    pub vm_pmd: Option<u64>,
    /// `VmSwap`: swapped-out anonymous memory (Linux 2.6.34).
    pub vm_swap: Option<u64>,
    /// `HugetlbPages`: memory in hugetlb pages (Linux 4.4).
    pub hugetlb_pages: Option<u64>,
    /// `Threads`: threads of the process.
    pub threads: Option<u64>,
    /// `SigQ`: queued signals of the user and the limit of them.
    pub sig_queue: Option<SigQueue>,
    /// `SigPnd`: signals pending for the thread.
    pub sig_pnd: Option<u64>,
    /// `ShdPnd`: signals pending for the process.
    pub shd_pnd: Option<u64>,
    /// `SigBlk`: blocked signals.
    pub sig_blk: Option<u64>,
    /// `SigIgn`: ignored signals.
    pub sig_ign: Option<u64>,
    /// `SigCgt`: caught signals.
    pub sig_cgt: Option<u64>,
    /// `CapInh`: inheritable capabilities.
    pub cap_inh: Option<u64>,
    /// `CapPrm`: permitted capabilities.
    pub cap_prm: Option<u64>,
    /// `CapEff`: effective capabilities.
    pub cap_eff: Option<u64>,
    /// `CapBnd`: the bounding set (Linux 2.6.26).
    pub cap_bnd: Option<u64>,
    /// `CapAmb`: ambient capabilities (Linux 4.3).
    pub cap_amb: Option<u64>,
    /// `NoNewPrivs`: whether exec can't give privileges (Linux 4.10).
    pub no_new_privs: Option<bool>,
    /// `Seccomp`: 0 off, 1 strict, 2 filter (Linux 3.8).
    pub seccomp: Option<u8>,
    /// `Cpus_allowed_list`: as printed, `0-3,8` (Linux 2.6.26).
    pub cpus_allowed_list: Option<&'a [u8]>,
    /// `Mems_allowed_list`: as printed (Linux 2.6.26).
    pub mems_allowed_list: Option<&'a [u8]>,
    /// `voluntary_ctxt_switches` of the thread (Linux 2.6.23).
    pub voluntary_ctxt_switches: Option<u64>,
    /// `nonvoluntary_ctxt_switches` of the thread (Linux 2.6.23).
    pub nonvoluntary_ctxt_switches: Option<u64>,
}

impl<'a> Status<'a> {
    /// Reads all lines. A text that was cut off between two lines gives `None`
    /// for those behind the cut.
    ///
    /// # Errors
    /// If the text is empty, a known line has another form or a number that
    /// its field can't hold, or the last line has no end, as when the text was
    /// cut off within it.
    pub fn parse(text: &'a [u8]) -> Result<Self, Error> {
        let mut status = Self::default();
        let mut at = Cursor::new(ProcFile::Status, text);
        if text.is_empty() {
            return Err(at.error(1, Expected::Keyword));
        }
        let mut next = 0;
        while !at.rest.is_empty() {
            lines::line(&mut status, &mut at, &mut next)?;
        }
        Ok(status)
    }
}
