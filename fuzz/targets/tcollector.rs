#![no_main]
psstat_fuzz::target!("tcollector");
