/* What remapctl doctor asks of a volume: how it is, and where its parts are. */
#include "ctl/disks.h"
#include "ctl/doctor.h"
#include "ctl/loop.h"

#include "remapfs/cleanup.h"
#include "remapfs/container.h"
#include "remapfs/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

/* What is pending has a line of its own. */
static void tell_trouble(struct doctor *doctor, const struct trouble *t)
{
	if (t->state == VOLUME_OK)
		doctor_find(doctor, DOCTOR_WARN, "state", "%s; %s", t->cause, t->remedy);
	else if (t->state != VOLUME_PENDING)
		doctor_find(doctor, DOCTOR_FAIL, "state", "%s: %s; %s", volume_state_name(t->state),
			    t->cause, t->remedy);
}

static void look_at_state(struct doctor *doctor, const struct status *s)
{
	for (size_t i = 0; i < s->troubles.count; i++)
		tell_trouble(doctor, &s->troubles.all[i]);
	if (s->state < VOLUME_FULL)
		doctor_find(doctor, DOCTOR_PASS, "state", "main, spares and database are there");
	if (s->totals.pending_sectors)
		doctor_find(doctor, DOCTOR_WARN, "pending", "%" PRIu64 " sector%s %s lost: reading "
			    "fails there; see 'remapctl pending', and restore the files that are "
			    "there", s->totals.pending_sectors, plural(s->totals.pending_sectors),
			    is_or_are(s->totals.pending_sectors));
	else
		doctor_find(doctor, DOCTOR_PASS, "pending", "no sector is lost");
	if (s->totals.faults)
		doctor_find(doctor, DOCTOR_WARN, "faults", "%" PRIu64 " sector%s %s simulated as "
			    "bad; end that with 'remapctl inject VOLUME clear'", s->totals.faults,
			    plural(s->totals.faults), is_or_are(s->totals.faults));
}

static void look_at_daemon(struct doctor *doctor, const struct status *s)
{
	if (daemon_number(s, "worker_deaths"))
		doctor_find(doctor, DOCTOR_WARN, "daemon", "the worker died %" PRIu64 " time%s since the "
			    "mount, and was replaced; see 'remapctl history' and the system log, and "
			    "report it", daemon_number(s, "worker_deaths"),
			    plural(daemon_number(s, "worker_deaths")));
	if (s->no_daemon && s->out_of_reach)
		doctor_find(doctor, DOCTOR_FAIL, "daemon", "none runs, though the volume is still "
			    "mounted; do what the state says");
	else if (daemon_says(s, "ending"))
		doctor_find(doctor, DOCTOR_NOTE, "daemon", "the volume was unmounted, and process "
			    "%" PRIu64 " is closing it; ask again in a moment",
			    daemon_number(s, "pid"));
	else if (s->daemon)
		doctor_find(doctor, DOCTOR_PASS, "daemon", "process %" PRIu64 " serves the volume",
			    daemon_number(s, "pid"));
	else if (s->no_daemon)
		doctor_find(doctor, DOCTOR_NOTE, "daemon", "the volume is not mounted, and less "
			    "can be told; mount it with 'remapfs VOLUME MOUNTPOINT'");
}

static const char *main_remedy(int code)
{
	if (code == EACCES || code == EPERM)
		return "run this as the user who mounts the volume";
	if (code == ENOENT || code == ENOTDIR)
		return "give it back its place, or see 'remapctl set-path'";
	return "check the disk and its cables";
}

static void look_at_main(struct doctor *doctor, const struct status *s)
{
	const char *path = s->volume->main_path;
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC | O_NONBLOCK);
	int code = errno;
	bool direct = s->daemon ? daemon_says(s, "main_direct") : fd >= 0;

	if (direct)
		doctor_find(doctor, DOCTOR_PASS, "main-direct", "main takes direct I/O");
	else if (s->daemon || code == EINVAL)
		doctor_find(doctor, DOCTOR_WARN, "main-direct", "main takes no direct I/O: it is "
			    "written through the page cache, and slower; move it to a file system "
			    "with O_DIRECT");
	else
		doctor_find(doctor, DOCTOR_FAIL, "main-direct", "main cannot be opened: %s; %s",
			    strerror(code), main_remedy(code));
}

static void look_at_format(struct doctor *doctor, const struct status *s)
{
	struct container container;

	if (container_find(s->volume->main_path, &container))
		doctor_find(doctor, DOCTOR_WARN, "main-format", "main is %s, not a disk: disk.img "
			    "shows the file and not what is in it; %s", container.name,
			    container.qemu ? "attach it with 'qemu-nbd --connect', or turn it into a "
					     "disk image with 'qemu-img convert -O raw', and make a new "
					     "volume of that" : "unpack it, and make a new volume of that");
}

static void look_at_changes(struct doctor *doctor, const struct status *s)
{
	if (s->changed_since[0])
		doctor_find(doctor, DOCTOR_WARN, "main-changed", "something else wrote to main since "
			    "the volume was last closed, at %s, and sectors that live on spares are as "
			    "they were then; check the file system that is on it", s->changed_since);
	else if (s->state != VOLUME_FAILED)
		doctor_find(doctor, DOCTOR_PASS, "main-changed",
			    "nothing tells that something else wrote to main");
}

static void look_at_loops(struct doctor *doctor, const struct status *s)
{
	CLEANUP_FREE struct loop *loops = NULL;
	struct error err = {0};
	size_t count = 0;

	if (!s->daemon)
		return;
	if (loop_find(daemon_text(s, "image"), &loops, &count, &err)) {
		doctor_find(doctor, DOCTOR_NOTE, "loop-direct", "%s", err.text);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		if (loop_is_direct(&loops[i]))
			doctor_find(doctor, DOCTOR_PASS, "loop-direct", "%s has direct I/O",
				    loops[i].device);
		else
			doctor_find(doctor, DOCTOR_FAIL, "loop-direct", "%s has no direct I/O, so "
				    "write errors come after the write was acknowledged; 'losetup "
				    "--direct-io=on %s'", loops[i].device, loops[i].device);
	}
	if (!count)
		doctor_find(doctor, DOCTOR_PASS, "loop-direct", "no loop device is attached");
}

/* ---- who else can exchange it -------------------------------------------------- */

static void look_at_folder(struct doctor *doctor, const struct status *s)
{
	struct error why;
	enum folder_guard guard = folder_judge(s->path, &why);

	if (guard == FOLDER_GUARDED)
		doctor_find(doctor, DOCTOR_PASS, "folder",
			    "nobody else can exchange the volume, or put files beside it");
	else
		doctor_find(doctor, guard == FOLDER_OPEN ? DOCTOR_FAIL : DOCTOR_WARN, "folder", "%s",
			    why.text);
}

/* Files beside them mean nothing. */
static void look_at_member_folder(struct doctor *doctor, const char *path)
{
	struct error why;

	if (folder_judge(path, &why) == FOLDER_OPEN)
		doctor_find(doctor, DOCTOR_WARN, "folder", "%s", why.text);
}

static void look_at_folders(struct doctor *doctor, const struct status *s)
{
	look_at_folder(doctor, s);
	if (!s->store)
		return;
	look_at_member_folder(doctor, s->volume->main_path);
	for (size_t i = 0; i < s->spare_count; i++)
		if (!spare_has_left(&s->spares[i]))
			look_at_member_folder(doctor, s->spares[i].path);
}

/* ---- what lies on the same disk ----------------------------------------------- */

static void compare_database(struct doctor *doctor, const struct status *s,
			     const struct disks *main)
{
	struct disks database = {0};
	enum disks_shared shared =
	    disks_of(s->path, &database) < 0 ? DISKS_UNKNOWN : disks_compare(main, &database);

	if (database.memory)
		doctor_find(doctor, DOCTOR_WARN, "database-disk", "the database is in memory (%s), "
			    "and gone at the next boot; unmount, move it to a disk, and mount it "
			    "there", database.memory);
	else if (shared == DISKS_APART)
		doctor_find(doctor, DOCTOR_PASS, "database-disk",
			    "the database is on another disk than main");
	else if (shared == DISKS_SHARED)
		doctor_find(doctor, DOCTOR_WARN, "database-disk", "the database is on the same disk "
			    "as main, and fails with it; unmount, move it to another disk, and "
			    "mount it there");
	else
		doctor_find(doctor, DOCTOR_NOTE, "database-disk", "whether the database is on the "
			    "same disk as main cannot be told; see 'lsblk'");
}

static void compare_spare(struct doctor *doctor, const struct store_spare *spare,
			  const struct disks *main)
{
	struct disks disks;
	int rc = disks_of(spare->path, &disks);
	enum disks_shared shared = rc < 0 ? DISKS_UNKNOWN : disks_compare(main, &disks);

	if (rc < 0)
		doctor_find(doctor, DOCTOR_FAIL, "spare-disk", "spare %" PRIu32 " cannot be found: "
			    "%s; give it back its place, or see 'remapctl set-path'", spare->id,
			    strerror(-rc));
	else if (disks.memory)
		doctor_find(doctor, DOCTOR_WARN, "spare-disk", "spare %" PRIu32 " is in memory (%s), "
			    "and what it holds is gone at the next boot; 'remapctl add-spare' one on a "
			    "disk, then 'remapctl retire-spare VOLUME %" PRIu32 "'", spare->id,
			    disks.memory, spare->id);
	else if (shared == DISKS_APART)
		doctor_find(doctor, DOCTOR_PASS, "spare-disk",
			    "spare %" PRIu32 " is on another disk than main", spare->id);
	else if (shared == DISKS_SHARED)
		doctor_find(doctor, DOCTOR_WARN, "spare-disk", "spare %" PRIu32 " is on the same "
			    "disk as main, and fails with it; 'remapctl add-spare' one elsewhere, "
			    "then 'remapctl retire-spare VOLUME %" PRIu32 "'", spare->id, spare->id);
	else
		doctor_find(doctor, DOCTOR_NOTE, "spare-disk", "whether spare %" PRIu32 " is on the "
			    "same disk as main cannot be told; see 'lsblk'", spare->id);
}

void doctor_places(struct doctor *doctor, const struct status *s)
{
	struct disks main;

	look_at_state(doctor, s);
	look_at_daemon(doctor, s);
	look_at_folders(doctor, s);
	if (!s->store)
		return;
	look_at_main(doctor, s);
	look_at_format(doctor, s);
	look_at_changes(doctor, s);
	look_at_loops(doctor, s);
	if (disks_of(s->volume->main_path, &main) < 0)
		return; /* the state says so */
	compare_database(doctor, s, &main);
	for (size_t i = 0; i < s->spare_count; i++)
		if (!spare_has_left(&s->spares[i]))
			compare_spare(doctor, &s->spares[i], &main);
}
