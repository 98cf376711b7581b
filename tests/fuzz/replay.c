/*
 * Runs a target over files, without a fuzzer: what was once found is looked at
 * by every build, with any compiler.
 *
 *     replay-TARGET FILE-OR-FOLDER...
 */
#include <dirent.h>
#include <sys/stat.h>

#include "fuzz.h"

static unsigned done;

static void run_file(const char *path)
{
	size_t size;
	uint8_t *data = get_file(path, &size), *exact = malloc(size ? size : 1);

	/* To the byte, so that a sanitizer sees one that is read past the end. */
	PROMISE(exact);
	memcpy(exact, data, size);
	free(data);
	/* Told before, for the case that it is the last. */
	fprintf(stderr, "%s\n", path);
	LLVMFuzzerTestOneInput(exact, size);
	free(exact);
	done++;
}

static void run_folder(const char *path)
{
	struct dirent **names;
	int count = scandir(path, &names, NULL, alphasort);

	PROMISE(count >= 0);
	for (int i = 0; i < count; i++) {
		char inner[4096];

		snprintf(inner, sizeof(inner), "%s/%s", path, names[i]->d_name);
		if (names[i]->d_name[0] != '.')
			run_file(inner);
		free(names[i]);
	}
	free(names);
}

int main(int argc, char **argv)
{
	LLVMFuzzerInitialize(&argc, &argv);
	for (int i = 1; i < argc; i++) {
		struct stat st;

		if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode))
			run_folder(argv[i]);
		else
			run_file(argv[i]);
	}
	printf("%u inputs\n", done);
	return done ? 0 : 1; /* an empty corpus proves nothing */
}
