//! Files: images, `/tmp`, devices.
