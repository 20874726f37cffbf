"""`make bench`: one JSON line a case."""

from benchmarks.train_step import main

if __name__ == "__main__":
    main()
