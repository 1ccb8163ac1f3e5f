"""What several tests share: builders of snapshots, servers to test against, clients of foreign programs. No tests."""
