#include "fuse/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "remapfs/cleanup.h"
#include "remapfs/parse.h"

#define TRY_HELP "try 'remapfs --help'"

/* What mount(8) and fstab hand on, and what becomes of it. */
static const char *const passed_on[] = {"nosuid", "nodev", "noexec", "suid",  "dev",
					"exec",   "sync",  "async",  "atime", "noatime",
					"dirsync", "auto_unmount", NULL};
static const char *const ignored[] = {
	"defaults", "rw", "auto", "noauto", "user", "nouser", "users", "nousers", "owner", "noowner",
	"group", "nogroup", "nofail", "_netdev", "default_permissions",
	/* The image has no times of its own, no locks and no links. */
	"relatime", "norelatime", "strictatime", "nostrictatime", "diratime", "nodiratime",
	"lazytime", "nolazytime", "mand", "nomand", "iversion", "noiversion", "silent", "loud",
	"symfollow", "nosymfollow", NULL};
/* Of fstab, and with values that are for others. */
static const char *const ignored_values[] = {"user", "uhelper", "helper", "comment", NULL};

static bool among(const char *const *names, const char *name)
{
	for (; *names; names++)
		if (strcmp(*names, name) == 0)
			return true;
	return false;
}

/* The value of "name=value", or NULL. */
static const char *value_of(const char *option, const char *name)
{
	size_t n = strlen(name);

	return strncmp(option, name, n) == 0 && option[n] == '=' ? option + n + 1 : NULL;
}

static bool is_for_others(const char *option)
{
	if (!option[0] || among(ignored, option) || strncasecmp(option, "x-", 2) == 0)
		return true;
	for (const char *const *name = ignored_values; *name; name++)
		if (value_of(option, *name))
			return true;
	return false;
}

static int number(const char *name, const char *text, unsigned min, unsigned max, unsigned *ret,
		  struct error *err)
{
	uint64_t value;

	if (parse_number(text, min, max, &value, err) < 0) {
		error_prefix(err, "-o %s", name);
		return -EINVAL;
	}
	*ret = (unsigned)value;
	return 0;
}

/* Of mount_option: it is none of ours, which the helper was told to bear with. */
#define UNKNOWN 1

/* 0, UNKNOWN, or -EINVAL. */
static int mount_option(struct options *o, const char *option, struct error *err)
{
	size_t used = strlen(o->mount);
	const char *value;

	if (strcmp(option, "ro") == 0)
		o->read_only = true;
	else if (strcmp(option, "noremap") == 0)
		o->no_remap = true;
	else if (strcmp(option, "unconfined") == 0)
		o->unconfined = true;
	else if (strcmp(option, "allow_other") == 0)
		o->allow_other = true;
	else if (strcmp(option, "allow_root") == 0)
		o->allow_root = true;
	else if ((value = value_of(option, "threads")))
		return number("threads", value, 1, 256, &o->threads, err);
	else if ((value = value_of(option, "isolation_ms")))
		return number("isolation_ms", value, 1, 600000, &o->isolation_ms, err);
	else if (among(passed_on, option) && used + strlen(option) + 2 < sizeof(o->mount))
		snprintf(o->mount + used, sizeof(o->mount) - used, ",%s", option);
	else if (strcmp(option, "remount") == 0)
		return error_set(err, EINVAL, "a volume cannot be remounted; unmount it and mount it "
				 "anew");
	else
		return o->sloppy ? UNKNOWN : error_set(err, EINVAL, "unknown option '-o %s'; "
						       TRY_HELP, option);
	return 0;
}

int options_add(struct options *o, const char *list, struct error *err)
{
	size_t used = strlen(o->list);

	if (used + strlen(list) + 2 > sizeof(o->list))
		return error_set(err, EINVAL, "too many mount options; " TRY_HELP);
	snprintf(o->list + used, sizeof(o->list) - used, "%s%s", used ? "," : "", list);
	return 0;
}

static int mount_options(struct options *o, const char *list, struct error *err)
{
	CLEANUP_FREE char *copy = strdup(list);
	char *rest = copy, *option;
	int rc = 0;

	if (!copy)
		return error_set(err, ENOMEM, "out of memory; end other programs");
	while (rc >= 0 && (option = strsep(&rest, ","))) {
		if (is_for_others(option))
			continue;
		rc = mount_option(o, option, err);
		if (rc == 0)
			rc = options_add(o, option, err);
	}
	return rc < 0 ? rc : 0;
}

/* ---- mount.remapfs, as mount(8) calls it ----------------------------------------------- */

static bool is_helper(const char *program)
{
	const char *slash = strrchr(program, '/');

	return strncmp(slash ? slash + 1 : program, "mount.", 6) == 0;
}

/* Returns whether c was one of the options that mean something else to a helper. */
static bool helper_option(struct options *o, int c)
{
	switch (c) {
	case 's': /* comes before -o */
		o->sloppy = true;
		return true;
	case 'f':
		o->fake = true;
		return true;
	case 'n': /* there has been no mtab to leave alone for long */
	case 'v':
	case 't': /* "remapfs", or it would not be us */
		return true;
	default:
		return false;
	}
}

/* ---- the command line ------------------------------------------------------------------ */

static int one_option(struct options *o, int c, char **argv, struct error *err)
{
	switch (c) {
	case 'f':
		o->foreground = true;
		return 0;
	case 'd':
		o->debug = o->foreground = true;
		return 0;
	case 'h':
		o->help = true;
		return 0;
	case 'V':
		o->version = true;
		return 0;
	case 'P':
		o->probe = true;
		return 0;
	case 'W':
		o->worker = optarg;
		return 0;
	case 'o':
		return mount_options(o, optarg, err);
	case 'N':
		return error_set(err, EINVAL, "mount cannot enter another namespace with remapfs; "
				 "use 'nsenter --mount=NAMESPACE remapfs VOLUME MOUNTPOINT'");
	case ':':
		return error_set(err, EINVAL, "option '%s' needs a value; " TRY_HELP,
				 argv[optind - 1]);
	default:
		if (optopt)
			return error_set(err, EINVAL, "unknown option '-%c'; " TRY_HELP, optopt);
		return error_set(err, EINVAL, "unknown option '%s'; " TRY_HELP, argv[optind - 1]);
	}
}

static int positionals(struct options *o, int count, char **words, struct error *err)
{
	if (count < 2)
		return error_set(err, EINVAL, "%s is missing; use 'remapfs VOLUME MOUNTPOINT'",
				 count < 1 ? "the volume" : "the mount point");
	if (count > 2)
		return error_set(err, EINVAL, "'%s' is one argument too many; use 'remapfs VOLUME "
				 "MOUNTPOINT'", words[2]);
	if (!words[0][0] || !words[1][0])
		return error_set(err, EINVAL, "%s is empty; use 'remapfs VOLUME MOUNTPOINT'",
				 words[0][0] ? "the mount point" : "the volume");
	o->volume = words[0];
	o->mountpoint = words[1];
	if (o->allow_other && o->allow_root)
		return error_set(err, EINVAL, "allow_other and allow_root exclude each other; "
				 "allow_other includes root");
	return 0;
}

int options_parse(int argc, char **argv, struct options *ret, struct error *err)
{
	static const struct option longs[] = {
		{"foreground", no_argument, NULL, 'f'}, {"debug", no_argument, NULL, 'd'},
		{"options", required_argument, NULL, 'o'}, {"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'}, {"worker", required_argument, NULL, 'W'},
		{"probe", no_argument, NULL, 'P'}, {0},
	};
	struct options o = {.threads = 32, .unconfined = REMAPFS_UNCONFINED,
			    .helper = argc > 0 && is_helper(argv[0])};
	const char *shorts = o.helper ? ":sfnvo:N:t:hV" : ":fdo:hV";
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, shorts, longs, NULL)) >= 0) {
		int rc = o.helper && helper_option(&o, c) ? 0 : one_option(&o, c, argv, err);

		if (rc < 0)
			return rc;
		if (o.help || o.version) {
			*ret = o;
			return 0;
		}
	}
	c = positionals(&o, argc - optind, argv + optind, err);
	if (c == 0)
		*ret = o;
	return c;
}

void options_help(void)
{
	fputs("\nUsage:\n"
	      " remapfs [options] VOLUME MOUNTPOINT\n"
	      "\nServe the disk of VOLUME as MOUNTPOINT/disk.img, with its bad sectors on spares.\n"
	      "\nOptions:\n"
	      " -f, --foreground         stay in the foreground\n"
	      " -d, --debug              print every request; implies -f\n"
	      " -o, --options <list>     mount options, separated by commas:\n"
	      "       ro                   serve the image read-only\n"
	      "       noremap              move nothing more: what main refuses is an error; what\n"
	      "                            has moved is still served from the spares\n"
	      "       allow_other          let other users in, as the file's mode says\n"
	      "       allow_root           let root in (losetup, udisks)\n"
	      "       unconfined           keep rights that are not used: see docs/threat-model.md\n"
	      "       threads=N            requests that take long served at once, 1 to 256\n"
	      "                            (default 32)\n"
	      "       isolation_ms=N       how long a request may search for its bad sectors\n"
	      "                            (default 10000)\n"
	      " -h, --help               display this help\n"
	      " -V, --version            display version\n"
	      "\nExit codes:\n"
	      " 0 mounted, 1 wrong command line, 2 system error, 8 interrupted, 32 not mounted\n"
	      "\nEnd it with: fusermount3 -u MOUNTPOINT\n"
	      "A process of it that dies is replaced under the mount (Linux 6.9 and later).\n",
	      stdout);
}
