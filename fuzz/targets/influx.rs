#![no_main]
psstat_fuzz::target!("influx");
