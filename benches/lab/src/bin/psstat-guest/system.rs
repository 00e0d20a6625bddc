//! The rest of a system: file systems, modules, the loopback interface, power.

use std::fs::{self, File};

use rustix::fs::{CWD, Mode};
use rustix::mount::MountFlags;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SendFlags, SocketType, sendto, socket};
use rustix::system::{RebootCommand, reboot};

use crate::{Result, sys};

/// Mounts the file systems, loads the modules, and brings the loopback interface up.
pub(crate) fn boot() -> Result<()> {
    for (name, target) in
        [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tmpfs", "/tmp")]
    {
        rustix::mount::mount(name, target, name, MountFlags::empty(), None)
            .map_err(|error| format!("mount of {target}: {error}"))?;
    }
    rustix::fs::chmodat(CWD, "/tmp", Mode::from_raw_mode(0o1777), rustix::fs::AtFlags::empty())?;
    // The kernel has the others built in. Their order is that of their dependencies.
    let mut modules: Vec<_> = fs::read_dir("/modules")?.flatten().map(|file| file.path()).collect();
    modules.sort();
    for path in modules {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        match rustix::system::finit_module(File::open(&path)?, c"", 0) {
            Ok(()) => println!("NOTE module {name}"),
            Err(error) => println!("NOTE module {name}: {error}"),
        }
    }
    if let Err(error) = swap_space() {
        println!("NOTE swap: {error}");
    }
    loopback_up()
}

/// Adds swap space in memory, on the device that the driver makes.
fn swap_space() -> Result<()> {
    const SIZE: u64 = 128 << 20;
    fs::write("/sys/block/zram0/disksize", SIZE.to_string())?;
    let page = rustix::param::page_size();
    // union swap_header: version and last page after the boot sector, and a signature at the end.
    let mut header = vec![0; page];
    let last = u32::try_from(SIZE / page as u64 - 1)?;
    header[1024..1028].copy_from_slice(&1u32.to_ne_bytes());
    header[1028..1032].copy_from_slice(&last.to_ne_bytes());
    header[page - 10..].copy_from_slice(b"SWAPSPACE2");
    fs::write("/dev/zram0", header)?;
    sys::swap_on(c"/dev/zram0")?;
    println!("NOTE swap");
    Ok(())
}

/// Sets the flag `IFF_UP` of interface 1 by rtnetlink.
fn loopback_up() -> Result<()> {
    const RTM_NEWLINK: u16 = 16;
    const NLM_F_REQUEST: u16 = 1;
    const IFF_UP: u32 = 1;
    // struct nlmsghdr: length, type, flags, sequence number, port.
    let mut message = Vec::new();
    message.extend(32u32.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    message.extend([0; 8]);
    // struct ifinfomsg: family and padding, type, index, flags, mask of flags.
    message.extend([0; 4]);
    message.extend(1u32.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    let socket = socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    sendto(&socket, &message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    Ok(())
}

/// Prints the kernel, the page size and the byte order.
pub(crate) fn describe() -> Result<()> {
    let system = rustix::system::uname();
    println!("KERNEL {}", system.release().to_string_lossy());
    println!("ARCHITECTURE {}", system.machine().to_string_lossy());
    println!("PAGE {}", rustix::param::page_size());
    println!("BITS {}", usize::BITS);
    println!("ORDER {}", if cfg!(target_endian = "big") { "big" } else { "little" });
    println!("TICKS {}", rustix::param::clock_ticks_per_second());
    println!("CPUS {}", std::thread::available_parallelism()?);
    println!("IPV6 {}", fs::exists("/proc/net/tcp6")?);
    Ok(())
}

/// Turns the machine off. If it cannot, it returns, and the kernel panics, which ends the emulator.
pub(crate) fn power_off() {
    let _ = reboot(RebootCommand::PowerOff);
    let _ = reboot(RebootCommand::Restart);
}
