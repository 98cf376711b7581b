/* remapctl check: what volume_check finds, as a table, and exit codes as fsck(8). */
#include "ctl/ctl.h"

#include "remapfs/check.h"

#include <errno.h>
#include <inttypes.h>

static const char help_text[] =
    "\n"
    "Usage:\n"
    " remapctl check [options] <volume>\n"
    "\n"
    "Compare the database, main, the superblocks and the slot tables of a volume that\n"
    "is not mounted, and read all slots that hold a sector. Nothing is changed without\n"
    "--repair.\n"
    "\n"
    "Options:\n"
    "     --repair             correct what can be: superblocks from their copies, slot\n"
    "                          tables from the database\n" TABLE_HELP
    " -q, --quiet              do not say that it is clean\n"
    " -h, --help               display this help\n"
    "\n"
    "Exit status:\n"
    " 0   nothing was found\n"
    " 1   all that was found was corrected\n"
    " 4   something is left uncorrected\n"
    " 8   the volume could not be checked\n"
    " 16  wrong command line\n";

enum { EXIT_CLEAN = 0, EXIT_CORRECTED = 1, EXIT_LEFT = 4, EXIT_OPERATIONAL = 8, EXIT_USAGE = 16 };

static const struct store_column columns[] = {
    {"spare_id", "the spare; empty: main or the database", true, false},
    {"slot", "the first slot", true, false},
    {"slots", "how many follow each other", true, false},
    {"main_sector", "the sector that the first holds, or says so", true, false},
    {"finding", "what kind it is", false, false},
    {"fate", "correctable, corrected or left", false, false},
    {"detail", "in words", false, false},
    {0}};

struct listing {
	struct table *table;
	uint64_t count;
	int rc;
};

static const char *fate_name(const struct finding *f)
{
	return f->fate == FINDING_REPAIRED ? "corrected"
	       : f->fate == FINDING_REPAIRABLE ? "correctable" : "left";
}

static void add_finding(void *context, const struct finding *f)
{
	struct listing *listing = context;
	char spare[24], slot[24], slots[24], sector[24];

	snprintf(spare, sizeof(spare), "%" PRIu32, f->spare);
	snprintf(slot, sizeof(slot), "%" PRIu64, f->slot);
	snprintf(slots, sizeof(slots), "%" PRIu64, f->count);
	snprintf(sector, sizeof(sector), "%" PRIu64, f->sector);
	listing->count++;
	if (listing->rc == 0)
		listing->rc = table_add(
		    listing->table,
		    (const char *const[]){f->spare ? spare : NULL, f->count ? slot : NULL,
					  f->count ? slots : NULL, f->count ? sector : NULL,
					  finding_name(f->kind), fate_name(f),
					  f->detail[0] ? f->detail : finding_text(f->kind)});
}

static int operational(const struct error *err)
{
	refuse(err);
	return EXIT_OPERATIONAL;
}

/* Who asked for rows of a certain form wants nothing but rows. */
static void tell_clean(bool quiet, const struct table_options *o)
{
	if (!quiet && !o->json && !o->raw && !o->noheadings && !o->columns)
		puts("clean: database and spares agree");
}

static int check(const char *path, bool repair, bool quiet, const struct table_options *options)
{
	struct listing listing = {0};
	const struct check_options o = {.path = path, .repair = repair, .found = add_finding,
					.context = &listing};
	struct check_result result = {0};
	struct error err = {0};
	int rc = table_new("findings", columns, options, &listing.table, &err);

	if (rc == -EINVAL) {
		refuse_misuse(&err);
		return EXIT_USAGE;
	}
	rc = rc < 0 ? rc : volume_check(&o, &result, &err);
	if (rc == 0 && listing.rc < 0)
		rc = error_set(&err, ENOMEM, "not enough memory; end other programs first");
	/* What was found until it failed is worth knowing. */
	if (listing.table && (listing.count || (options->json && rc == 0)))
		table_print(listing.table);
	table_free(listing.table);
	if (rc < 0)
		return operational(&err);
	if (!listing.count)
		tell_clean(quiet, options);
	return result.left ? EXIT_LEFT : result.repaired ? EXIT_CORRECTED : EXIT_CLEAN;
}

int run_check(int argc, char **argv)
{
	enum { OPTION_REPAIR = 256 };
	static const struct option longs[] = {
	    {"repair", no_argument, NULL, OPTION_REPAIR}, TABLE_LONGS,
	    {"quiet", no_argument, NULL, 'q'}, {"help", no_argument, NULL, 'h'}, {0}};
	static const char *const names[] = {"VOLUME"};
	struct table_options options = {0};
	bool repair = false, quiet = false;
	int c;

	while ((c = next_option("check", argc, argv, ":" TABLE_SHORTS "qh", longs)) != -1) {
		if (c == 'h') {
			print_help(help_text);
			print_columns(columns);
			return EXIT_CLEAN;
		}
		if (c == '?')
			return EXIT_USAGE;
		if (c == OPTION_REPAIR)
			repair = true;
		else if (c == 'q')
			quiet = true;
		else
			take_table_option(c, optarg, &options);
	}
	if (check_operands("check", argc, argv, 1, 1, names))
		return EXIT_USAGE;
	return check(argv[optind], repair, quiet, &options);
}
