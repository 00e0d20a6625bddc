//! Memory of a process.

use psstat_proc_parse::{Kilobytes, Stat, Statm, Status};

use super::{ReadError, Section, Value};

pub(super) fn section(
    stat: Option<&Stat<'_>>,
    status: Option<&Status<'_>>,
    statm: &Result<Statm, ReadError>,
    page_size: u64,
) -> Section {
    let mut section = Section::new("memory");
    section.field("vsize_bytes", Value::bytes(stat.map(|stat| stat.vsize)));
    if let Some(status) = status {
        let lines = [
            ("vm_peak_bytes", status.vm_peak),
            ("vm_rss_bytes", status.vm_rss),
            ("vm_hwm_bytes", status.vm_hwm),
            ("rss_anon_bytes", status.rss_anon),
            ("rss_file_bytes", status.rss_file),
            ("rss_shmem_bytes", status.rss_shmem),
            ("vm_swap_bytes", status.vm_swap),
            ("vm_data_bytes", status.vm_data),
            ("vm_stk_bytes", status.vm_stk),
            ("vm_exe_bytes", status.vm_exe),
            ("vm_lib_bytes", status.vm_lib),
            ("vm_pte_bytes", status.vm_pte),
            ("vm_pmd_bytes", status.vm_pmd),
            ("vm_lck_bytes", status.vm_lck),
            ("vm_pin_bytes", status.vm_pin),
            ("hugetlb_bytes", status.hugetlb_pages),
        ];
        for (field, kilobytes) in lines {
            section.field(field, Value::bytes(kilobytes.map(Kilobytes::to_bytes)));
        }
    }
    match statm {
        Ok(statm) => pages(&mut section, statm, page_size),
        Err(error) => section.unread = Some(error.clone()),
    }
    section.field("minor_faults", Value::number(stat.map(|stat| stat.minflt)));
    section.field("major_faults", Value::number(stat.map(|stat| stat.majflt)));
    section.field("children_minor_faults", Value::number(stat.map(|stat| stat.cminflt)));
    section.field("children_major_faults", Value::number(stat.map(|stat| stat.cmajflt)));
    section
}

/// The values of `statm`, in addition to those of `status`.
fn pages(section: &mut Section, statm: &Statm, page_size: u64) {
    let counts = [
        ("statm_resident_bytes", statm.resident),
        ("statm_shared_bytes", statm.shared),
        ("statm_text_bytes", statm.text),
        ("statm_data_bytes", statm.data),
    ];
    for (field, pages) in counts {
        section.field(field, Value::bytes(Some(pages.to_bytes(page_size))));
    }
}
