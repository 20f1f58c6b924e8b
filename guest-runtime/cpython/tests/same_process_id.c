/* Preloaded: a process that was forked is not told. OpenSSL notices a fork by this number and nothing else. */
int getpid(void)
{
    return 2;
}
