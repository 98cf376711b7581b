/*
 * src/confine: what a process that misbehaves cannot do. Each case is a child
 * that gives up its rights as a worker does, and then tries.
 */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
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

static int main_fd, other_main_fd, up[2], connected[2], listener, terminal;

/* What a worker has open, and the listener of its control socket. */
static bool open_as_worker(void)
{
	main_fd = open(at("elsewhere/main"), O_RDWR | O_CLOEXEC);
	other_main_fd = open(at("elsewhere/main"), O_RDONLY | O_CLOEXEC);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	return main_fd >= 0 && other_main_fd >= 0 && listener >= 0 && terminal >= 0 &&
	       socketpair(AF_UNIX, SOCK_SEQPACKET, 0, up) == 0 &&
	       socketpair(AF_UNIX, SOCK_DGRAM, 0, connected) == 0;
}

/* As src/fuse/worker.c does: the volume is in the folder, main elsewhere. */
static void confine_as_worker(void)
{
	int folder = open(at("folder"), O_PATH | O_CLOEXEC);
	char refused[256];

	if (!open_as_worker())
		_exit(SETUP_FAILED);
	confine_calls(tell, up[1], refused, sizeof(refused));
	if (!refused[0])
		confine_files(folder, -1, refused, sizeof(refused));
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

/* What was opened for reading is not opened anew for writing. */
static int write_what_it_reads(void)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", other_main_fd);
	return try_to_open(path, O_RDWR);
}

static int open_from_what_is_open(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d/../../../etc/shadow", other_main_fd);
	return try_to_open(path, O_RDONLY) == 0 ? 0 : try_to_open("/proc/self/root/etc/shadow", O_RDONLY);
}

/* Rights of root in files that only root may read. */
static int open_shadow(void)
{
	return try_to_open("/etc/shadow", O_RDONLY);
}

static int open_memory_of_another(void)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)getppid());
	return try_to_open(path, O_RDWR);
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
	assert_int_equal(as_worker(write_what_it_reads), EACCES);
	assert_int_equal(as_worker(open_from_what_is_open), EACCES);
	assert_int_equal(as_worker(open_shadow), EACCES);
	assert_int_equal(as_worker(open_memory_of_another), EACCES);
	assert_true(as_worker(take_out_of_the_folder) == EXDEV ||
		    as_worker(take_out_of_the_folder) == EACCES);
	assert_int_equal(access(at("elsewhere/other"), F_OK), 0);
	assert_int_equal(access(at("folder/volume"), F_OK), 0);
}

/* Older kernels let main be cut by its name: only that nobody does stands before that. */
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

static int make_a_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM, 0);
}

static int connect_to_a_service(void)
{
	const struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "/run/systemd/private"};

	return connect(listener, (const struct sockaddr *)&to, sizeof(to));
}

/* A datagram needs no connection. */
static int send_by_name(void)
{
	const struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "/run/systemd/notify"};

	return (int)sendto(connected[0], "MAINPID=1", 9, 0, (const struct sockaddr *)&to, sizeof(to));
}

static int send_message_by_name(void)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "/run/systemd/notify"};
	struct iovec text = {.iov_base = (char[]){"x"}, .iov_len = 1};
	const struct msghdr message = {.msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = &text,
				       .msg_iovlen = 1};

	return (int)sendmsg(connected[0], &message, 0);
}

/* Another socket in the place of the one that messages may be sent through. */
static int replace_up(void)
{
	return dup2(connected[0], up[1]);
}

static int close_up(void)
{
	return close(up[1]);
}

static int close_up_in_disguise(void)
{
	return (int)syscall(SYS_close, 1UL << 32 | (unsigned)up[1]);
}

static int type_into_the_terminal(void)
{
	return ioctl(terminal, TIOCSTI, "x");
}

static int type_in_disguise(void)
{
	return (int)syscall(SYS_ioctl, terminal, 1UL << 32 | TIOCSTI, "x");
}

static int erase_a_disk(void)
{
	const uint64_t all[] = {0, 1 << 20};

	return ioctl(main_fd, BLKDISCARD, all);
}

static int signal_a_thread_of_another(void)
{
	return (int)syscall(SYS_tgkill, getppid(), getppid(), SIGWINCH);
}

/* The kernel then sends a signal for whoever writes to a pipe. */
static int have_another_signalled(void)
{
	return fcntl(up[0], F_SETOWN, getppid());
}

static int change_the_signal(void)
{
	return fcntl(up[0], F_SETSIG, SIGKILL);
}

static int dump_again(void)
{
	return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static int queue_io_elsewhere(void)
{
	char params[120] = {0};

	return (int)syscall(SYS_io_uring_setup, 1, params);
}

static int enter_a_user_namespace(void)
{
	return (int)syscall(SYS_unshare, CLONE_NEWUSER);
}

static int clone_into_a_namespace(void)
{
	return (int)syscall(SYS_clone, CLONE_THREAD | CLONE_SIGHAND | CLONE_VM | CLONE_NEWNS, 0, 0, 0,
			    0);
}

static int read_another_ones_memory(void)
{
	char byte;
	struct iovec here = {&byte, 1}, there = {told_pipe, 1};

	return (int)syscall(SYS_process_vm_readv, getppid(), &here, 1, &there, 1, 0);
}

static int slow_down_another(void)
{
	return (int)syscall(SYS_ioprio_set, 1, getppid(), 3 << 13);
}

static int make_a_program_of_root(void)
{
	int fd = open(at("folder/volume"), O_RDWR | O_CLOEXEC);

	return fchmod(fd, 04755);
}

static int make_a_new_program_of_root(void)
{
	return open(at("folder/new"), O_RDWR | O_CREAT | O_CLOEXEC, 04755);
}

static void no_way_out_by_an_argument(void **state)
{
	(void)state;
	assert_ends(make_a_socket, SYS_socket);
	assert_ends(connect_to_a_service, SYS_connect);
	assert_ends(send_by_name, SYS_sendto);
	assert_ends(send_message_by_name, SYS_sendmsg);
	assert_ends(replace_up, SYS_dup2);
	assert_ends(close_up, SYS_close);
	assert_ends(close_up_in_disguise, SYS_close);
	assert_ends(type_into_the_terminal, SYS_ioctl);
	assert_ends(type_in_disguise, SYS_ioctl);
	assert_ends(erase_a_disk, SYS_ioctl);
	assert_ends(signal_a_thread_of_another, SYS_tgkill);
	assert_ends(have_another_signalled, SYS_fcntl);
	assert_ends(change_the_signal, SYS_fcntl);
	assert_ends(dump_again, SYS_prctl);
	assert_ends(queue_io_elsewhere, SYS_io_uring_setup);
	assert_ends(enter_a_user_namespace, SYS_unshare);
	assert_ends(clone_into_a_namespace, SYS_clone);
	assert_ends(read_another_ones_memory, SYS_process_vm_readv);
	assert_ends(slow_down_another, SYS_ioprio_set);
	assert_ends(make_a_program_of_root, SYS_fchmod);
	assert_ends(make_a_new_program_of_root, SYS_openat);
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

	*(int *)failed = pwrite(main_fd, &byte, 1, 0) != 1 || fdatasync(main_fd) < 0;
	return NULL;
}

static int listen_in_the_folder(void)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};

	snprintf(to.sun_path, sizeof(to.sun_path), "%s", at("folder/new.sock"));
	return bind(listener, (struct sockaddr *)&to, sizeof(to)) < 0 || listen(listener, 1) < 0 ||
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

static int ask_for_openat2(void)
{
	const struct {
		uint64_t flags, mode, resolve;
	} how = {O_RDWR | O_CREAT, 04755, 0};

	return syscall(SYS_openat2, AT_FDCWD, at("folder/new"), &how, sizeof(how)) < 0 ? errno : 0;
}

static void calls_with_unseen_arguments_are_not_there(void **state)
{
	(void)state;
	assert_int_equal(as_worker(ask_for_openat2), ENOSYS);
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

	confine_calls(tell, -1, refused, sizeof(refused));
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
	return !(had[0].effective & 1U << CAP_SYS_ADMIN) ? 3 : prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
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
		TEST(no_way_out_by_an_argument),
		TEST(what_it_does_goes_on),
		TEST(calls_with_unseen_arguments_are_not_there),
		TEST(what_a_worker_has_left),
		TEST(the_supervisor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
