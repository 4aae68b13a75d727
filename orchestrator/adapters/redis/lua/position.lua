-- args: job. Returns the number of jobs that probably begin before it, or nil when it does not wait.
return position_of(args.job)
