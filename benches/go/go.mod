module zc-bench

go 1.23
