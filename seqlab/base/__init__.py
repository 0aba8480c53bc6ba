"""The ground floor, free of torch: files, streams, processes and limits that every room uses."""
