//! The program, on test processes with known behavior.

mod capture;
mod captured_proc;
mod check;
mod doctor;
mod documented;
mod explain;
mod fields;
mod find;
mod fixture;
mod formats;
mod hostile_captures;
mod numbers;
mod other_machines;
mod pid;
mod recording;
mod run;
mod screen;
mod sockets;
mod top;
mod untrusted_text;
mod wrong_use;
