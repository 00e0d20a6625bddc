#![no_main]
psstat_fuzz::target!("prometheus");
