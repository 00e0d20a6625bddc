//! A capture of a machine with pages of 64 KiB.

use std::path::Path;

use psstat_testproc::TempDir;
use psstat_testproc::archive::Archive;

use super::common::{Setup, conf};

/// The size of this machine's pages was used.
#[test]
fn memory_in_pages_of_a_captured_machine() {
    let temp = TempDir::new().unwrap();
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/machines.txtar");
    Archive::read(archive).unwrap().unpack(temp.path()).unwrap();
    let path = conf(&temp, "mem role=mem\n");
    // `VmRSS` of `status` in bytes, and the second number of `statm`.
    for (unit, resident) in [("bytes", 66_752 * 1024), ("pages", 1043)] {
        let setup = Setup::bare().env("PSSTAT_CONF", &path).env("PSSTAT_ONCE", "true");
        let setup = setup.env("PSSTAT_PROC", temp.join("ppc64le")).env("PSSTAT_MEM_UNIT", unit);
        let cycle = setup.spawn().finish().remove(0);
        assert_eq!(cycle.get("mem image=mem type=resident"), resident, "{unit}");
    }
}
