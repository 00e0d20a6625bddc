//! The driver over a model of the kernel, which knows what every process really did and
//! which process inherited it: no image's io falls, and none counts twice.

mod histories;
mod idle;
mod kernel;
mod layers;
mod live;
mod model;
mod orphans;
mod past;
mod rules;
mod sockets;
mod table;
mod world;
