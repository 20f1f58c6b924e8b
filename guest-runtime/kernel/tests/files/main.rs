//! The file half of the kernel, as a program sees it: system calls by number, on memory that is partly not there.

mod attributes;
mod builder;
mod datagrams;
mod descriptors;
mod images;
mod local;
mod machine;
mod paths;
mod pipes;
mod proc;
mod sockets;
mod streams;
mod timers;
mod tmp;
mod transfer;
mod waiting;
