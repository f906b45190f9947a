"""Engine `torch`: the embedded engine's benchmarks, planned for PyTorch; what runs is in embedded/kinds/torch_*."""
