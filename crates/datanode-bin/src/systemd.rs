//! What systemd is told (`sd_notify`).
