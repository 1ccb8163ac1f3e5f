"""What several tests share: builders of snapshots, simulated servers, and wrappers of other programs. No tests."""
