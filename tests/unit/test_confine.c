/*
 * src/confine: what a process that misbehaves cannot do. Each case is a child
 * that gives up its rights as a worker does, and then tries.
 */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "confine/confine.h"

enum { REFUSED_MEASURES = 100, SETUP_FAILED };

static int told_pipe[2];

static void tell(long number)
{
	if (write(told_pipe[1], &number, sizeof(number)) < 0)
		_exit(SETUP_FAILED);
}

/* As src/fuse/worker.c does: the volume is in the folder, main elsewhere. */
static void confine_as_worker(void)
{
	char folder[512], main_file[512], refused[256];
	const char *files[] = {main_file, "/nowhere/spare"};

	snprintf(folder, sizeof(folder), "%s", at("folder"));
	snprintf(main_file, sizeof(main_file), "%s", at("elsewhere/main"));
	confine_calls(tell, refused, sizeof(refused));
	if (!refused[0])
		confine_files(folder, files, 2, refused, sizeof(refused));
	if (refused[0]) {
		fprintf(stderr, "refused: %s\n", refused);
		_exit(REFUSED_MEASURES);
	}
}

/* How a child ended that is confined and then calls fn; its exit code, or minus the signal. */
static int run(void (*confine)(void), int (*fn)(void))
{
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		confine();
		_exit(fn());
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static int as_worker(int (*fn)(void))
{
	int result = run(confine_as_worker, fn);

	if (result == REFUSED_MEASURES) {
		puts("SKIP: this kernel, or this container, has no seccomp or no Landlock");
		skip();
	}
	return result;
}

/* The process ended for it, and told which call it was. */
static void assert_ends(int (*fn)(void), long number)
{
	long told = -1;

	assert_int_equal(as_worker(fn), -SIGSYS);
	assert_int_equal(read(told_pipe[0], &told, sizeof(told)), sizeof(told));
	assert_int_equal(told, number);
}

static int setup(void **state)
{
	int rc = scratch_setup(state);

	mkdir(at("folder"), 0700);
	mkdir(at("elsewhere"), 0700);
	make_file(at("folder/volume"), 4096);
	make_file(at("elsewhere/main"), 4096);
	make_file(at("elsewhere/other"), 4096);
	return rc || pipe2(told_pipe, O_CLOEXEC | O_NONBLOCK);
}

static int teardown(void **state)
{
	close(told_pipe[0]);
	close(told_pipe[1]);
	return scratch_teardown(state);
}

/* ---- files ------------------------------------------------------------------------ */

static int try_to_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

static int open_another(void)
{
	return try_to_open(at("elsewhere/other"), O_RDONLY);
}

static int write_another(void)
{
	return try_to_open(at("elsewhere/other"), O_WRONLY);
}

static int open_what_everybody_may(void)
{
	return try_to_open("/etc/passwd", O_RDONLY);
}

static int make_elsewhere(void)
{
	return try_to_open(at("elsewhere/new"), O_RDWR | O_CREAT);
}

/* A link in the folder leads to where it leads. */
static int follow_a_link(void)
{
	return try_to_open(at("folder/link"), O_RDWR);
}

static int cut_main(void)
{
	return try_to_open(at("elsewhere/main"), O_RDWR | O_TRUNC);
}

static int take_out_of_the_folder(void)
{
	return rename(at("folder/volume"), at("elsewhere/volume")) < 0 ? errno : 0;
}

static int remove_elsewhere(void)
{
	return unlink(at("elsewhere/other")) < 0 ? errno : 0;
}

static void no_other_files(void **state)
{
	(void)state;
	assert_int_equal(symlink(at("elsewhere/other"), at("folder/link")), 0);
	assert_int_equal(as_worker(open_another), EACCES);
	assert_int_equal(as_worker(write_another), EACCES);
	assert_int_equal(as_worker(open_what_everybody_may), EACCES);
	assert_int_equal(as_worker(make_elsewhere), EACCES);
	assert_int_equal(as_worker(follow_a_link), EACCES);
	assert_int_equal(as_worker(remove_elsewhere), EACCES);
	assert_true(as_worker(take_out_of_the_folder) == EXDEV ||
		    as_worker(take_out_of_the_folder) == EACCES);
	assert_int_equal(access(at("elsewhere/other"), F_OK), 0);
	assert_int_equal(access(at("folder/volume"), F_OK), 0);
}

/* Older kernels let main be cut: nothing but remapfs itself stands before that. */
static void main_is_not_cut(void **state)
{
	(void)state;
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1) < 3) {
		puts("SKIP: this Landlock does not know of truncate");
		skip();
	}
	assert_int_equal(as_worker(cut_main), EACCES);
}

/* ---- programs and processes --------------------------------------------------------- */

static int start_a_program(void)
{
	return execl("/bin/true", "true", NULL);
}

static int fork_one(void)
{
	return (int)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static int look_into_another(void)
{
	return (int)ptrace(PTRACE_ATTACH, getppid(), 0, 0);
}

static int end_another(void)
{
	return kill(getppid(), SIGWINCH);
}

static int reach_the_network(void)
{
	return socket(AF_INET, SOCK_STREAM, 0);
}

static int mount_something(void)
{
	return mount("none", "/", "tmpfs", 0, NULL);
}

static int make_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0) == MAP_FAILED;
}

static int become_another(void)
{
	return (int)syscall(SYS_setresuid, 1, 1, 1);
}

static int load_a_module(void)
{
	return (int)syscall(SYS_init_module, "", 0, "");
}

static void no_programs_and_no_processes(void **state)
{
	(void)state;
	assert_ends(start_a_program, SYS_execve);
	assert_ends(fork_one, SYS_clone);
	assert_ends(look_into_another, SYS_ptrace);
	assert_ends(end_another, SYS_kill);
	assert_ends(reach_the_network, SYS_socket);
	assert_ends(mount_something, SYS_mount);
	assert_ends(make_code, SYS_mmap);
	assert_ends(become_another, SYS_setresuid);
	assert_ends(load_a_module, SYS_init_module);
}

/* ---- what it goes on doing ------------------------------------------------------------ */

static void *in_a_thread(void *failed)
{
	char byte = 'x';
	int fd = open(at("elsewhere/main"), O_RDWR | O_CLOEXEC);

	*(int *)failed = fd < 0 || pwrite(fd, &byte, 1, 0) != 1 || fdatasync(fd) < 0;
	close(fd);
	return NULL;
}

static int listen_in_the_folder(void)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(to.sun_path, sizeof(to.sun_path), "%s", at("folder/new.sock"));
	return fd < 0 || bind(fd, (struct sockaddr *)&to, sizeof(to)) < 0 || listen(fd, 1) < 0 ||
	       rename(at("folder/new.sock"), at("folder/sock")) < 0;
}

static int do_its_work(void)
{
	pthread_t thread;
	int failed = 1;

	if (try_to_open(at("folder/volume-wal"), O_RDWR | O_CREAT) ||
	    unlink(at("folder/volume-wal")) < 0)
		return 1;
	if (pthread_create(&thread, NULL, in_a_thread, &failed) || pthread_join(thread, NULL) || failed)
		return 2;
	return listen_in_the_folder() ? 3 : 0;
}

static void what_it_does_goes_on(void **state)
{
	(void)state;
	assert_int_equal(as_worker(do_its_work), 0);
}

/* The C library asks for it first, and takes clone where there is none. */
static int ask_for_clone3(void)
{
	return syscall(SYS_clone3, NULL, 0) < 0 ? errno : 0;
}

static void clone3_is_not_there(void **state)
{
	(void)state;
	assert_int_equal(as_worker(ask_for_clone3), ENOSYS);
}

/* ---- rights of root ---------------------------------------------------------------------- */

/* Of a confined process: capget is not among its calls. */
static uint64_t status_of_self(const char *name)
{
	FILE *file = fopen("/proc/self/status", "re");
	char line[256];
	uint64_t value = UINT64_MAX;

	while (file && fgets(line, sizeof(line), file))
		if (strncmp(line, name, strlen(name)) == 0)
			value = strtoull(line + strlen(name), NULL, 16);
	if (file)
		fclose(file);
	return value;
}

static void confine_calls_alone(void)
{
	char refused[256];

	confine_calls(tell, refused, sizeof(refused));
	if (refused[0])
		_exit(REFUSED_MEASURES);
}

static int rights_of_worker(void)
{
	const uint64_t kept = 1U << CAP_CHOWN | 1U << CAP_DAC_OVERRIDE | 1U << CAP_FOWNER |
			      1U << CAP_IPC_LOCK;

	if (status_of_self("CapPrm:") & ~kept || status_of_self("CapEff:") & ~kept ||
	    status_of_self("CapInh:") || status_of_self("CapAmb:"))
		return 1;
	if (geteuid() == 0 && status_of_self("CapBnd:") & ~kept)
		return 2;
	return status_of_self("NoNewPrivs:") == 1 && status_of_self("Seccomp:") == 2 ? 0 : 3;
}

static void what_a_worker_has_left(void **state)
{
	int result = run(confine_calls_alone, rights_of_worker);

	(void)state;
	if (result == REFUSED_MEASURES) {
		puts("SKIP: this kernel, or this container, has no seccomp");
		skip();
	}
	assert_int_equal(result, 0);
}

static void confine_as_supervisor(void)
{
	char refused[256];

	confine_supervisor(refused, sizeof(refused));
	if (refused[0])
		_exit(REFUSED_MEASURES);
}

static int capabilities_of_supervisor(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct had[2];

	if (syscall(SYS_capget, &header, had) < 0)
		return 1;
	if (had[0].effective & (1U << CAP_SYS_MODULE | 1U << CAP_SYS_PTRACE | 1U << CAP_SETUID |
				1U << CAP_NET_ADMIN))
		return 2;
	return !(had[0].effective & 1U << CAP_SYS_ADMIN);
}

static int as_supervisor(int (*fn)(void))
{
	int result = run(confine_as_supervisor, fn);

	if (result == REFUSED_MEASURES) {
		puts("SKIP: this kernel, or this container, has no seccomp");
		skip();
	}
	return result;
}

static int refused_to_supervisor(void)
{
	if (mount("none", "/nowhere", "tmpfs", 0, NULL) == 0 || errno != EPERM)
		return 1;
	if (syscall(SYS_init_module, "", 0, "") == 0 || errno != EPERM)
		return 2;
	return syscall(SYS_setresuid, 0, 0, 0) == 0 || errno != EPERM ? 3 : 0;
}

/* It goes on starting workers, which have what they ask for at first. */
static int start_and_wait(void)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		execl("/bin/true", "true", NULL);
		_exit(1);
	}
	return child < 0 || waitpid(child, &status, 0) != child || status != 0;
}

/* What it cannot do, its children cannot, whatever they start. */
static int ask_a_child(void)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		execl("/bin/sh", "sh", "-c", "mount -t tmpfs none /mnt 2>/dev/null && exit 1; exit 0", NULL);
		_exit(2);
	}
	return child < 0 || waitpid(child, &status, 0) != child || status != 0;
}

static void the_supervisor(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		puts("SKIP: needs root");
		skip();
	}
	assert_int_equal(as_supervisor(capabilities_of_supervisor), 0);
	assert_int_equal(as_supervisor(refused_to_supervisor), 0);
	assert_int_equal(as_supervisor(start_and_wait), 0);
	assert_int_equal(as_supervisor(ask_a_child), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(no_other_files),
		TEST(main_is_not_cut),
		TEST(no_programs_and_no_processes),
		TEST(what_it_does_goes_on),
		TEST(clone3_is_not_there),
		TEST(what_a_worker_has_left),
		TEST(the_supervisor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
