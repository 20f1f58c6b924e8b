//! The file half of the kernel, as a program sees it: system calls by number, on memory that is partly not there.

mod builder;
mod descriptors;
mod images;
mod machine;
mod paths;
mod proc;
mod sockets;
mod tmp;
mod transfer;
mod waiting;
