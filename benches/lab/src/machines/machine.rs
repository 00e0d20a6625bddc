//! The emulated machines, and what each of them needs.

/// The properties of a machine.
#[derive(Debug)]
pub(crate) struct Machine {
    /// Debian's name of its architecture, with the version of the kernel if there are several.
    pub(crate) name: &'static str,
    /// Debian's name of its architecture.
    pub(crate) architecture: &'static str,
    /// The archives with the kernel: the repository and the suite.
    pub(crate) suites: &'static [(Repository, &'static str)],
    /// The packages of the kernel, or those that depend on the newest ones.
    pub(crate) kernel: &'static [&'static str],
    /// Rust's name.
    pub(crate) triple: &'static str,
    pub(crate) linker: &'static str,
    /// The packages with the emulator and the linker.
    pub(crate) packages: &'static [&'static str],
    /// The emulator and its options.
    pub(crate) emulator: &'static [&'static str],
    pub(crate) console: &'static str,
}

/// A repository of packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repository {
    Debian,
    DebianSecurity,
    Ubuntu,
}

use Repository::{Debian, DebianSecurity, Ubuntu};

const DEBIAN_11: &[(Repository, &str)] =
    &[(Debian, "bullseye"), (DebianSecurity, "bullseye-security")];
const DEBIAN_12: &[(Repository, &str)] =
    &[(Debian, "bookworm"), (DebianSecurity, "bookworm-security")];
const DEBIAN_13: &[(Repository, &str)] = &[(Debian, "trixie"), (DebianSecurity, "trixie-security")];
const UBUNTU_22_04: &[(Repository, &str)] = &[(Ubuntu, "jammy"), (Ubuntu, "jammy-updates")];
const UBUNTU_24_04: &[(Repository, &str)] = &[(Ubuntu, "noble"), (Ubuntu, "noble-updates")];

/// 64 bits. The kernels differ.
const AMD64: Machine = Machine {
    name: "amd64",
    architecture: "amd64",
    suites: DEBIAN_12,
    kernel: &["linux-image-amd64"],
    triple: "x86_64-unknown-linux-musl",
    linker: "rust-lld",
    packages: &["qemu-system-x86"],
    emulator: &["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max"],
    console: "ttyS0",
};

/// All machines.
pub(crate) const MACHINES: &[Machine] = &[
    // 64 bits, pages of 16 KiB.
    Machine {
        name: "arm64",
        architecture: "arm64",
        suites: DEBIAN_13,
        kernel: &["linux-image-arm64-16k"],
        triple: "aarch64-unknown-linux-musl",
        linker: "rust-lld",
        packages: &["qemu-system-arm"],
        // The default signatures of pointers are slow to emulate.
        emulator: &["qemu-system-aarch64", "-M", "virt", "-cpu", "max,pauth-impdef=on"],
        console: "ttyAMA0",
    },
    // 64 bits, big-endian.
    Machine {
        name: "s390x",
        architecture: "s390x",
        suites: DEBIAN_12,
        kernel: &["linux-image-s390x"],
        triple: "s390x-unknown-linux-gnu",
        linker: "s390x-linux-gnu-gcc",
        packages: &["qemu-system-misc", "gcc-s390x-linux-gnu", "libc6-dev-s390x-cross"],
        emulator: &["qemu-system-s390x", "-M", "s390-ccw-virtio", "-cpu", "max"],
        console: "ttysclp0",
    },
    // 64 bits, pages of 64 KiB.
    Machine {
        name: "ppc64el",
        architecture: "ppc64el",
        suites: DEBIAN_12,
        kernel: &["linux-image-powerpc64le"],
        triple: "powerpc64le-unknown-linux-gnu",
        linker: "powerpc64le-linux-gnu-gcc",
        packages: &["qemu-system-ppc", "gcc-powerpc64le-linux-gnu", "libc6-dev-ppc64el-cross"],
        emulator: &["qemu-system-ppc64", "-M", "pseries", "-vga", "none", "-cpu", "power9"],
        console: "hvc0",
    },
    // 32 bits.
    Machine {
        name: "armhf",
        architecture: "armhf",
        suites: DEBIAN_12,
        kernel: &["linux-image-armmp"],
        triple: "armv7-unknown-linux-gnueabihf",
        linker: "arm-linux-gnueabihf-gcc",
        packages: &["qemu-system-arm", "gcc-arm-linux-gnueabihf", "libc6-dev-armhf-cross"],
        emulator: &["qemu-system-arm", "-M", "virt", "-cpu", "cortex-a15"],
        console: "ttyAMA0",
    },
    Machine { name: "amd64-5.10", suites: DEBIAN_11, ..AMD64 },
    Machine { name: "amd64-5.15", suites: UBUNTU_22_04, kernel: &["linux-image-generic"], ..AMD64 },
    Machine {
        name: "amd64-5.19",
        suites: UBUNTU_22_04,
        kernel: &["linux-image-5.19.0-50-generic", "linux-modules-extra-5.19.0-50-generic"],
        ..AMD64
    },
    Machine { name: "amd64-6.1", suites: DEBIAN_12, ..AMD64 },
    // The first one with memory in parts of each CPU.
    Machine {
        name: "amd64-6.2",
        suites: UBUNTU_22_04,
        kernel: &["linux-image-6.2.0-39-generic", "linux-modules-extra-6.2.0-39-generic"],
        ..AMD64
    },
    Machine { name: "amd64-6.8", suites: UBUNTU_24_04, kernel: &["linux-image-generic"], ..AMD64 },
    Machine { name: "amd64-6.12", suites: DEBIAN_13, ..AMD64 },
    Machine { name: "amd64-sid", suites: &[(Debian, "sid")], ..AMD64 },
    Machine { name: "amd64-backports", suites: &[(Debian, "trixie-backports")], ..AMD64 },
];

impl Machine {
    /// The machine of this name.
    pub(crate) fn named(name: &str) -> Option<&'static Machine> {
        MACHINES.iter().find(|machine| machine.name == name)
    }

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
