//! The emulated machines, and what each of them needs.

use clap::ValueEnum;

/// A machine by Debian's name of its architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Architecture {
    /// 64 bits, pages of 16 KiB
    Arm64,
    /// 64 bits, big-endian
    S390x,
    /// 64 bits, pages of 64 KiB
    Ppc64el,
    /// 32 bits
    Armhf,
}

/// The properties of a machine.
#[derive(Debug)]
pub(crate) struct Machine {
    /// Debian's name.
    pub(crate) name: &'static str,
    /// The release of Debian with its kernel, and the package that depends on the newest one.
    pub(crate) suite: &'static str,
    pub(crate) kernel: &'static str,
    /// Rust's name.
    pub(crate) triple: &'static str,
    pub(crate) linker: &'static str,
    /// The packages with the emulator and the linker.
    pub(crate) packages: &'static [&'static str],
    /// The emulator and its options.
    pub(crate) emulator: &'static [&'static str],
    pub(crate) console: &'static str,
}

impl Architecture {
    pub(crate) fn machine(self) -> Machine {
        match self {
            Architecture::Arm64 => Machine {
                name: "arm64",
                suite: "trixie",
                kernel: "linux-image-arm64-16k",
                triple: "aarch64-unknown-linux-musl",
                linker: "rust-lld",
                packages: &["qemu-system-arm"],
                // The default signatures of pointers are slow to emulate.
                emulator: &["qemu-system-aarch64", "-M", "virt", "-cpu", "max,pauth-impdef=on"],
                console: "ttyAMA0",
            },
            Architecture::S390x => Machine {
                name: "s390x",
                suite: "bookworm",
                kernel: "linux-image-s390x",
                triple: "s390x-unknown-linux-gnu",
                linker: "s390x-linux-gnu-gcc",
                packages: &["qemu-system-misc", "gcc-s390x-linux-gnu", "libc6-dev-s390x-cross"],
                emulator: &["qemu-system-s390x", "-M", "s390-ccw-virtio", "-cpu", "max"],
                console: "ttysclp0",
            },
            Architecture::Ppc64el => Machine {
                name: "ppc64el",
                suite: "bookworm",
                kernel: "linux-image-powerpc64le",
                triple: "powerpc64le-unknown-linux-gnu",
                linker: "powerpc64le-linux-gnu-gcc",
                packages: &[
                    "qemu-system-ppc",
                    "gcc-powerpc64le-linux-gnu",
                    "libc6-dev-ppc64el-cross",
                ],
                emulator: &["qemu-system-ppc64", "-M", "pseries", "-vga", "none", "-cpu", "power9"],
                console: "hvc0",
            },
            Architecture::Armhf => Machine {
                name: "armhf",
                suite: "bookworm",
                kernel: "linux-image-armmp",
                triple: "armv7-unknown-linux-gnueabihf",
                linker: "arm-linux-gnueabihf-gcc",
                packages: &["qemu-system-arm", "gcc-arm-linux-gnueabihf", "libc6-dev-armhf-cross"],
                emulator: &["qemu-system-arm", "-M", "virt", "-cpu", "cortex-a15"],
                console: "ttyAMA0",
            },
        }
    }
}

impl Machine {
    /// The environment of a build for it.
    pub(crate) fn build_environment(&self) -> Vec<(String, String)> {
        let prefix = format!("CARGO_TARGET_{}", self.triple.to_uppercase().replace('-', "_"));
        let mut environment = vec![(format!("{prefix}_LINKER"), self.linker.to_owned())];
        if self.triple.contains("-gnu") {
            // The machine has no libraries.
            let flags = "-C target-feature=+crt-static".to_owned();
            environment.push((format!("{prefix}_RUSTFLAGS"), flags));
        }
        environment
    }
}
