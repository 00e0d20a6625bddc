//! Tests of the real program, run as tcollector runs it and with all its options, on processes
//! whose behavior is known. `common` runs the collector and checks each of its lines against
//! tcollector's rules, in every test.

mod common;

mod clocks;
mod conf;
mod conf_directory;
mod faults;
mod fields;
mod formats;
mod hidden;
mod hostile_conf;
mod hung_conf;
mod images;
mod limits;
mod listen;
mod live_values;
mod mounts;
mod options;
mod other_machines;
mod output_file;
mod pid_namespace;
mod privileges;
mod reload;
mod security;
mod source;
mod startup;
mod tcollector;
mod torn_reads;
