/* Preloaded on the host: there is one process, as in a guest. What a test cannot do with this, it cannot do there. */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <unistd.h>

pid_t fork(void)
{
    errno = ENOSYS;
    return -1;
}

/* CPython calls it where Linux has it; failing in the parent, it is as harmless as fork. */
pid_t vfork(void)
{
    errno = ENOSYS;
    return -1;
}

pid_t forkpty(int *master, char *name, const void *mode, const void *size)
{
    (void)master, (void)name, (void)mode, (void)size;
    errno = ENOSYS;
    return -1;
}

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes,
                char *const *arguments, char *const *environment)
{
    (void)pid, (void)path, (void)actions, (void)attributes, (void)arguments, (void)environment;
    return ENOSYS;
}

int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes,
                 char *const *arguments, char *const *environment)
{
    return posix_spawn(pid, file, actions, attributes, arguments, environment);
}

int system(const char *command)
{
    (void)command;
    errno = ENOSYS;
    return -1;
}

FILE *popen(const char *command, const char *mode)
{
    (void)command, (void)mode;
    errno = ENOSYS;
    return NULL;
}
